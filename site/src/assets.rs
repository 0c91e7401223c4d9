//! The style sheet and the script, inlined into every page, and the policy that allows them and nothing else.

use std::sync::LazyLock;

use base64::Engine as _;
use sha2::{Digest, Sha256};

/// The style sheet.
pub(crate) const STYLE: &str = include_str!("../../templates/style.css");
/// The script: ages, local times, "overdue", filter, theme. Every page is complete without it.
pub(crate) const SCRIPT: &str = include_str!("../../templates/script.js");

/// The Content-Security-Policy of every page.
pub(crate) static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
        source_hash(STYLE),
        source_hash(SCRIPT)
    )
});

/// A text as a policy names it.
pub(crate) fn source_hash(text: &str) -> String {
    format!("sha256-{}", base64::engine::general_purpose::STANDARD.encode(Sha256::digest(text.as_bytes())))
}
