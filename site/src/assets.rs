//! The style sheet and the script, inlined into every page, and the policy that allows them and nothing else.

use std::sync::LazyLock;

use base64::Engine as _;
use sha2::{Digest, Sha256};

/// The style sheet.
pub(crate) static STYLE: LazyLock<String> = LazyLock::new(|| packed(include_str!("../../templates/style.css")));
/// The script: ages, local times, "overdue", filter, theme. Every page is complete without it.
pub(crate) static SCRIPT: LazyLock<String> = LazyLock::new(|| packed(include_str!("../../templates/script.js")));

/// Without indentation, and without the lines that are comments.
fn packed(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//"));
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The Content-Security-Policy of every page.
pub(crate) static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
        source_hash(&STYLE),
        source_hash(&SCRIPT)
    )
});

/// A text as a policy names it.
pub(crate) fn source_hash(text: &str) -> String {
    format!("sha256-{}", base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes())))
}
