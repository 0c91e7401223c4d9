//! What `--data` names: a folder, or a table of the cloud.

use std::path::Path;

use crate::exit::BadInput;

/// What the name of a table begins with.
const TABLE: &str = "dynamodb://";

/// The table that a place names; none where it names a folder.
pub(crate) fn table(data: &Path) -> Option<&str> {
    let name = data.to_str()?.strip_prefix(TABLE)?;
    Some(name.split('/').next().unwrap_or_default())
}

/// Refuses a table, where only a folder will do.
pub(crate) fn folder(data: &Path) -> anyhow::Result<()> {
    match table(data) {
        None => Ok(()),
        Some(table) => Err(BadInput(format!(
            "this command works on a data folder, and {TABLE}{table} is a table: infra/README.md says what there is instead"
        ))
        .into()),
    }
}

/// Reads the value of `--data`.
pub(crate) fn parse(text: &str) -> Result<std::path::PathBuf, String> {
    let place = std::path::PathBuf::from(text);
    match table(&place) {
        None => Ok(place),
        Some("") => Err(format!("{TABLE} needs the name of a table, for example {TABLE}nightbook")),
        Some(_) if cfg!(feature = "aws") => Ok(place),
        Some(_) => Err("this nightbook was built without the cloud: build it with `cargo install --path crates/nightbook --features aws`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_told_from_a_folder() {
        assert_eq!(table(Path::new("dynamodb://records")), Some("records"));
        assert_eq!(table(Path::new("dynamodb://records/eu")), Some("records"));
        assert_eq!(table(Path::new("data")), None);
        assert!(folder(Path::new("dynamodb://records")).is_err() && folder(Path::new("data")).is_ok());
    }

    #[test]
    fn a_table_needs_a_name_and_a_build_that_knows_it() {
        assert!(parse("dynamodb://").unwrap_err().contains("name of a table"));
        let parsed = parse("dynamodb://records");
        assert_eq!(parsed.is_ok(), cfg!(feature = "aws"), "{parsed:?}");
        if let Err(error) = parsed {
            assert!(error.contains("--features aws"), "{error}");
        }
    }
}
