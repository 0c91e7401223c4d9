//! `nightbook doctor`: verify everything that is stored. And `nightbook backup`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use backends::DoctorReport;
use serde_json::json;

use crate::commands::run::count;
use crate::exit::{BadInput, NOT_WELL};
use crate::output::{Output, safe};
#[cfg(feature = "aws")]
use crate::place;
use crate::reading;

/// Runs `doctor`.
pub(crate) async fn run(data: &Path, output: &Output) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "aws")]
    if let Some(table) = place::table(data) {
        // What a table takes is not cheap to know.
        return told(&crate::cloud::Cloud::connect(table).await?.doctor().await?, &BTreeMap::new(), output);
    }
    let store = reading::open_folder(data)?;
    told(&store.doctor().await?, &store.disk_usage()?, output)
}

/// Says what was found.
fn told(report: &DoctorReport, usage: &BTreeMap<String, u64>, output: &Output) -> anyhow::Result<ExitCode> {
    let problems: Vec<String> = report.problems.iter().map(|problem| safe(problem)).collect();
    if output.is_json() {
        output.json(&json!({ "checked": report.checked, "problems": problems, "bytes": usage }))?;
    } else {
        for problem in &problems {
            output.line(&format!("problem: {problem}"));
        }
        for (what, number) in &report.checked {
            output.line(&format!("checked {number} {what}"));
        }
        for (what, bytes) in usage {
            output.line(&format!("{what}: {:.1} MB", *bytes as f64 / 1e6));
        }
        output.line(&count(problems.len(), "problem"));
    }
    Ok(if problems.is_empty() { ExitCode::SUCCESS } else { NOT_WELL.into() })
}

/// Runs `backup`.
pub(crate) async fn backup(data: &Path, to: &Path, output: &Output) -> anyhow::Result<ExitCode> {
    if to.exists() {
        return Err(BadInput(format!("{} exists already: name a folder that does not", to.display())).into());
    }
    let store = reading::open_folder(data)?;
    store.backup(to).await.with_context(|| format!("cannot back up to {}", to.display()))?;
    if output.is_json() {
        output.json(&json!({ "backup": to }))?;
    } else {
        output.line(&format!("Backed up to {}; `nightbook doctor --data {}` verifies it.", to.display(), to.display()));
    }
    Ok(ExitCode::SUCCESS)
}
