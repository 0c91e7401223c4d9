//! `nightbook doctor`: verify everything that is stored. And `nightbook backup`, which copies it or verifies a copy.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::Context as _;
use backends::DoctorReport;
use backends::local::{LocalStore, verify_backup_files};
use domain::ids::ContentHash;
use serde_json::json;

use crate::commands::run::count;
use crate::exit::{BadInput, NOT_WELL};
use crate::output::{Output, safe};
#[cfg(feature = "aws")]
use crate::place;
use crate::reading;

/// Runs `doctor`.
pub(crate) async fn run(data: &Path, links: &[ChainLink], output: &Output) -> anyhow::Result<ExitCode> {
    #[cfg(feature = "aws")]
    if let Some(table) = place::table(data) {
        // What a table takes is not cheap to know.
        let report = crate::cloud::Cloud::connect(table).await?.doctor().await?;
        return told(report, links, &BTreeMap::new(), output);
    }
    let store = reading::open_folder(data)?;
    told(store.doctor().await?, links, &store.disk_usage()?, output)
}

/// A link of the chain of closed runs that somebody kept a copy of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChainLink {
    number: Option<u64>,
    hash: ContentHash,
}

impl FromStr for ChainLink {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, hash) = match text.split_once(':') {
            Some((number, hash)) => (Some(number), hash),
            None => (None, text),
        };
        let number = number.map(str::parse).transpose();
        match (number, ContentHash::new(hash)) {
            (Ok(number), Ok(hash)) => Ok(Self { number, hash }),
            _ => Err("allowed is the hash of a link, 64 hexadecimal digits, or NUMBER:HASH".to_owned()),
        }
    }
}

impl ChainLink {
    /// What is wrong with the chain if this link was once its newest; `None` if it is still there.
    fn missing_from(&self, links: &[ContentHash]) -> Option<String> {
        let found = links.iter().position(|link| *link == self.hash).map(|index| index as u64 + 1);
        match (found, self.number) {
            (Some(found), Some(number)) if found != number => {
                Some(format!("link {} is number {found} of the chain, not {number}", self.hash.short()))
            }
            (Some(_), _) => None,
            (None, _) => Some(format!(
                "the chain holds no link {}: runs that were closed before it was published were rewritten or removed",
                self.hash
            )),
        }
    }
}

/// Says what was found.
fn told(
    report: DoctorReport,
    links: &[ChainLink],
    usage: &BTreeMap<String, u64>,
    output: &Output,
) -> anyhow::Result<ExitCode> {
    let missing = links.iter().filter_map(|link| link.missing_from(&report.links));
    let problems: Vec<String> = report.problems.iter().cloned().chain(missing).map(|problem| safe(&problem)).collect();
    let newest = report.links.last().map(|hash| (report.links.len(), hash));
    if output.is_json() {
        let chain = newest.map(|(number, hash)| json!({ "number": number, "hash": hash }));
        output.json(&json!({ "checked": report.checked, "problems": problems, "bytes": usage, "chain": chain }))?;
    } else {
        for problem in &problems {
            output.line(&format!("problem: {problem}"));
        }
        for (what, number) in &report.checked {
            output.line(&format!("checked {number} {what}"));
        }
        if let Some((number, hash)) = newest {
            output.line(&format!("newest link of the chain: {number}:{hash}"));
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
        output.line(&format!(
            "Backed up to {}; `nightbook backup --verify {}` verifies it.",
            to.display(),
            to.display()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `backup --verify`. The exit codes are those of `doctor`.
pub(crate) async fn verify_backup(folder: &Path, output: &Output) -> anyhow::Result<ExitCode> {
    if !folder.is_dir() {
        return Err(BadInput(format!(
            "{} is not a folder: name a folder that `nightbook backup` made",
            folder.display()
        ))
        .into());
    }
    let mut report = verify_backup_files(folder)?;
    // Records that are gone or cannot be opened are a finding beside the others.
    match LocalStore::open_read_only(folder) {
        Ok(store) => {
            let stored = store.doctor().await?;
            report.problems.extend(stored.problems);
            report.checked.extend(stored.checked);
            report.links = stored.links;
        }
        Err(error) => report.problems.push(format!("{:#}", anyhow::Error::from(error))),
    }
    told(report, &[], &BTreeMap::new(), output)
}
