//! `upcall status --state`: what clients hold.

use std::io::Write;

use anyhow::{Context, Result};
use serde_json::Value;

/// The daemon's JSON for a person: a line for each file, and one below for each that it carries.
pub(in crate::cli) fn print(out: &mut impl Write, text: &str) -> Result<()> {
    let shown: Value = serde_json::from_str(text).context("the daemon's answer is not JSON")?;
    let list = |value: &Value, field: &str| value[field].as_array().cloned().unwrap_or_default();
    let files = list(&shown, "files");
    if files.is_empty() {
        writeln!(out, "nothing is held")?;
    }
    for file in files {
        writeln!(out, "{}", plain(&file["path"]))?;
        for kind in ["opens", "locks"] {
            for item in list(&file, kind) {
                writeln!(out, "    {:<9}{}", kind.trim_end_matches('s'), fields(&item))?;
            }
        }
        if file["waiting"].as_u64().is_some_and(|waiting| waiting > 0) {
            writeln!(out, "    waiting  {} requests", file["waiting"])?;
        }
    }
    Ok(())
}

/// Names and values; what is not there or not so is left out.
fn fields(item: &Value) -> String {
    let said = item
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !matches!(value, Value::Null | Value::Bool(false)));
    let each: Vec<String> = said
        .map(|(name, value)| if *value == true { name.clone() } else { format!("{name} {}", plain(value)) })
        .collect();
    each.join(", ")
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> String {
        let mut out = Vec::new();
        print(&mut out, text).expect("it is JSON");
        String::from_utf8(out).expect("it is text")
    }

    #[test]
    fn each_thing_held_is_a_line() {
        let text = r#"{"files":[{"path":"/srv/a","opens":[{"access":"both","advisory":true,"client":"b",
            "recalled":false,"lease":null}],"locks":[{"start":0,"length":10}],"waiting":2}]}"#;
        let expected = "/srv/a\n    open     access both, advisory, client b\n    lock     length 10, start 0\n    waiting  2 requests\n";
        assert_eq!(printed(text), expected);
        assert_eq!(printed(r#"{"files":[]}"#), "nothing is held\n");
        assert!(print(&mut Vec::new(), "{").is_err());
    }
}
