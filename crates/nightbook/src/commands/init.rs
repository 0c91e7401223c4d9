//! `nightbook init`: a commented sample book to fill in.

use std::path::Path;
use std::process::ExitCode;

use crate::exit::BadInput;
use crate::output::Output;
use crate::sample::init_files;

/// Runs the command.
pub(crate) fn run(dir: &Path, output: &Output) -> anyhow::Result<ExitCode> {
    if dir.exists() && dir.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(BadInput(format!("{} is not empty: name a folder that does not exist yet", dir.display())).into());
    }
    write_files(dir, &init_files())?;
    if output.is_json() {
        output.json(&serde_json::json!({ "book": dir }))?;
    } else {
        output.line(&format!("A sample book is in {}. Fill it in, then:", dir.display()));
        output.line(&format!("  nightbook check --book {}", dir.display()));
        output.line(&format!("  nightbook run --book {}", dir.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the files of a book, each whole or not at all.
pub(crate) fn write_files(dir: &Path, files: &std::collections::BTreeMap<String, String>) -> anyhow::Result<()> {
    use anyhow::Context as _;
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the folder {}", dir.display()))?;
    for (name, text) in files {
        let path = dir.join(name);
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
        std::io::Write::write_all(&mut file, text.as_bytes())
            .with_context(|| format!("cannot write {}", path.display()))?;
        file.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
