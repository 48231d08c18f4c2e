//! `upcall doctor`: what this kernel allows.

use std::{io::Write, process::ExitCode};

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::source::{self, Survey};

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// One JSON object a line: the kernel first, then each mutation path
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DoctorArgs) -> Result<ExitCode> {
    let survey = source::survey();
    if args.json {
        print_json(&survey)?
    } else {
        print_human(&survey)?
    }
    Ok(if survey.source.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_json(survey: &Survey) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut kernel = typed("kernel", survey)?;
    if let Some(fields) = kernel.as_object_mut() {
        fields.remove("paths");
    }
    writeln!(out, "{kernel}")?;
    for path in &survey.paths {
        writeln!(out, "{}", typed("path", path)?)?;
    }
    Ok(())
}

/// A line's object with its `type`.
fn typed(kind: &str, fields: &impl Serialize) -> Result<Value> {
    let mut line = serde_json::to_value(fields)?;
    if let Some(fields) = line.as_object_mut() {
        fields.insert("type".into(), json!(kind));
    }
    Ok(line)
}

fn print_human(survey: &Survey) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let verdict = |ok: bool, why: Option<&str>| match (ok, why) {
        (true, _) => "yes".to_owned(),
        (false, Some(why)) => format!("no: {why}"),
        (false, None) => "no".to_owned(),
    };
    writeln!(out, "kernel                 {}", survey.kernel)?;
    writeln!(out, "type information (BTF) {}", verdict(survey.btf, None))?;
    writeln!(
        out,
        "BPF trampolines        {}",
        verdict(survey.trampolines, survey.trampolines_why.as_deref())
    )?;
    writeln!(
        out,
        "timestamp tracepoints  {}",
        verdict(survey.timestamp_tracepoints, survey.timestamp_why.as_deref())
    )?;
    writeln!(out, "security modules       {}", survey.lsm.as_deref().unwrap_or("unknown"))?;
    writeln!(out, "BPF security module    {}", verdict(survey.bpf_lsm, None))?;
    writeln!(out, "lockdown               {}", survey.lockdown.as_deref().unwrap_or("unknown"))?;
    let mount = "mount -t bpf -o mode=700 bpf /sys/fs/bpf";
    writeln!(out, "survives restarts      {}", verdict(survey.can_pin, Some(mount)))?;
    writeln!(
        out,
        "missing capabilities   {}",
        match survey.missing_capabilities.as_slice() {
            [] => "none".to_owned(),
            missing => format!("{}: run as root", missing.join(", ")),
        }
    )?;
    writeln!(out, "source that would run  {}", survey.source.map_or("none", source::Source::name))?;
    writeln!(out)?;
    for path in &survey.paths {
        match (&path.hook, &path.why) {
            (Some(hook), _) => writeln!(out, "seen      {:<52} {hook}", path.path)?,
            (None, why) => writeln!(out, "not seen  {:<52} {}", path.path, why.as_deref().unwrap_or(""))?,
        }
        for exception in &path.except {
            writeln!(out, "          not on {}: {}", exception.filesystem, exception.why)?;
        }
    }
    Ok(())
}
