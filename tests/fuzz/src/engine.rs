//! Runs targets on inputs and keeps what fails.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context as _;
use peak_alloc::PeakAlloc;

use crate::mutate::{Dice, mutate};
use crate::targets::Target;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Memory that any input may take, whatever its size.
const FREE_MEMORY: usize = 48 << 20;

/// Beyond it, for each byte of the input: decoded text, its copies, and the findings about it.
const MEMORY_PER_BYTE: usize = 400;

/// The last panic: its place and its message.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// An input that a target did not stand.
#[derive(Debug)]
pub struct Failure {
    /// The target.
    pub target: &'static str,
    /// Where the input is kept.
    pub file: PathBuf,
    /// What happened.
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { target, file, message } = self;
        write!(f, "{target}: {message}\n  again: tests/fuzz-inputs --target {target} --replay {}", file.display())
    }
}

/// Keeps panics from being printed; their messages become those of the failures.
pub fn keep_panics() {
    std::panic::set_hook(Box::new(|panic| {
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = panic.to_string();
    }));
}

/// Runs a target on one input. The message says why it did not stand it.
///
/// # Errors
/// A panic, or more memory than the input may cost.
pub fn stands(target: &Target, input: &[u8]) -> Result<(), String> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let allowed = FREE_MEMORY.max(input.len().saturating_mul(MEMORY_PER_BYTE));
    if outcome.is_err() {
        return Err(PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone());
    }
    if taken > allowed {
        return Err(format!("{} bytes of input took {taken} bytes of memory, allowed are {allowed}", input.len()));
    }
    Ok(())
}

/// The committed inputs of a target, by name.
///
/// # Errors
/// The folder cannot be read, or is empty.
pub fn corpus(target: &Target) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let content = std::fs::read(&path)?;
        found.push((path, content));
    }
    found.sort();
    anyhow::ensure!(!found.is_empty(), "{} has no input", folder.display());
    Ok(found)
}

/// Runs a target on its corpus and on `iterations` changes of it; how many inputs that were, and the first failure.
///
/// # Errors
/// The corpus cannot be read, or a failing input cannot be kept.
pub fn fuzz(target: &'static Target, iterations: u64, seed: u64) -> anyhow::Result<(u64, Option<Failure>)> {
    let corpus = corpus(target)?;
    let mut ran = 0;
    for (file, input) in &corpus {
        ran += 1;
        if let Err(message) = stands(target, input) {
            return Ok((ran, Some(Failure { target: target.name, file: file.clone(), message })));
        }
    }
    let inputs: Vec<Vec<u8>> = corpus.into_iter().map(|(_, input)| input).collect();
    for iteration in 0..iterations {
        // Each iteration has dice of its own, so that one can be repeated without those before it.
        let mut dice = Dice::new(seed ^ iteration.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut input = dice.pick(&inputs).clone();
        mutate(&mut input, &inputs, &mut dice);
        ran += 1;
        if let Err(message) = stands(target, &input) {
            let file = failures_folder()?.join(format!("{}-{seed}-{iteration}", target.name));
            std::fs::write(&file, &input)?;
            return Ok((ran, Some(Failure { target: target.name, file, message })));
        }
    }
    Ok((ran, None))
}

/// Where failing inputs are kept: in the folder of the build.
fn failures_folder() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let build = own.ancestors().find(|folder| folder.join("deps").is_dir()).context("this program lies in no build")?;
    let folder = build.join("fuzz-failures");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
