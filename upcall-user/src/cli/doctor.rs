//! `upcall doctor`: what this kernel allows.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::json;

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
        print_human(&survey)
    }
    Ok(if survey.source.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_json(survey: &Survey) -> Result<()> {
    let mut kernel = serde_json::to_value(survey)?;
    if let Some(fields) = kernel.as_object_mut() {
        fields.remove("paths");
        fields.insert("type".into(), json!("kernel"));
    }
    println!("{kernel}");
    for path in &survey.paths {
        println!("{}", serde_json::to_string(path)?);
    }
    Ok(())
}

fn print_human(survey: &Survey) {
    let verdict = |ok: bool, why: Option<&str>| match (ok, why) {
        (true, _) => "yes".to_owned(),
        (false, Some(why)) => format!("no: {why}"),
        (false, None) => "no".to_owned(),
    };
    println!("kernel                 {}", survey.kernel);
    println!("type information (BTF) {}", verdict(survey.btf, None));
    println!("BPF trampolines        {}", verdict(survey.trampolines, survey.trampolines_why.as_deref()));
    println!(
        "timestamp tracepoints  {}",
        verdict(survey.timestamp_tracepoints, survey.timestamp_why.as_deref())
    );
    println!("security modules       {}", survey.lsm.as_deref().unwrap_or("unknown"));
    println!("BPF security module    {}", verdict(survey.bpf_lsm, None));
    println!("lockdown               {}", survey.lockdown.as_deref().unwrap_or("unknown"));
    println!(
        "missing capabilities   {}",
        match survey.missing_capabilities.as_slice() {
            [] => "none".to_owned(),
            missing => format!("{}: run as root", missing.join(", ")),
        }
    );
    println!("source that would run  {}", survey.source.map_or("none", source::Source::name));
    println!();
    for path in &survey.paths {
        match (&path.hook, &path.why) {
            (Some(hook), _) => println!("seen      {:<52} {hook}", path.path),
            (None, why) => println!("not seen  {:<52} {}", path.path, why.as_deref().unwrap_or("")),
        }
    }
}
