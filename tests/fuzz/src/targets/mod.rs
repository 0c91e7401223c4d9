//! The targets.

mod books;
mod stored;
mod texts;

/// Something that reads bytes, with the properties that hold for any bytes.
#[derive(Debug)]
pub struct Target {
    /// Its name, and that of its folder in the corpus.
    pub name: &'static str,
    /// Reads the bytes; panics where a property does not hold.
    pub run: fn(&[u8]),
    /// Iterations in a test run.
    pub iterations: u64,
}

/// All targets.
pub static TARGETS: [Target; 11] = [
    Target { name: "book", run: books::book, iterations: 250 },
    Target { name: "portfolios", run: books::portfolios, iterations: 1_500 },
    Target { name: "positions", run: books::positions, iterations: 1_500 },
    Target { name: "prices", run: books::prices, iterations: 1_500 },
    Target { name: "settings", run: books::settings, iterations: 1_500 },
    Target { name: "message", run: stored::message, iterations: 4_000 },
    Target { name: "stored", run: stored::stored, iterations: 4_000 },
    Target { name: "snapshot", run: stored::snapshot, iterations: 1_500 },
    Target { name: "results", run: stored::results, iterations: 4_000 },
    Target { name: "status", run: stored::status, iterations: 1_000 },
    Target { name: "redact", run: texts::redact, iterations: 1_000 },
];

/// The target of this name.
///
/// # Errors
/// There is none; the message names those that there are.
pub fn find(name: &str) -> anyhow::Result<&'static Target> {
    TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        anyhow::anyhow!("there is no target {name:?}: it is one of {}", names.join(", "))
    })
}
