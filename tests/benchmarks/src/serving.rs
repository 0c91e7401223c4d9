//! `nightbook serve` with eight readers of its largest answer: how long `/healthz` takes beside them.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::book;
use crate::figure::Figure;

/// Readers of the largest answer at once.
const READERS: usize = 8;

/// Requests for the health of the server that are measured, one after the other.
const SAMPLES: usize = 300;

/// Answers that one reader takes, at most.
const ANSWERS: usize = 500;

/// After this time without a byte a request is given up.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn measure(nightbook: &Path, quick: bool, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let portfolios = if quick { 1_000 } else { 4_000 };
    let (input, data) = (folder.path().join("book"), folder.path().join("data"));
    book::write(&input, portfolios)?;
    let run = run(nightbook, &input, &data)?;
    let server = Server::start(nightbook, &input, &data)?;
    let alone = percentiles((0..SAMPLES).map(|_| server.health()).collect::<anyhow::Result<_>>()?);
    let largest = format!("/api/v1/batch/runs/{run}/jobs?limit=10000");
    let (stop, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    let samples = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|reader| {
                let (server, largest, stop, answers) = (&server, &largest, &stop, &answers);
                // Half of them read compressed answers.
                let coding = if reader % 2 == 0 { "gzip" } else { "identity" };
                scope.spawn(move || {
                    for _ in 0..ANSWERS {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        server.get(largest, coding)?;
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        let samples: anyhow::Result<Vec<f64>> = (0..SAMPLES).map(|_| server.health()).collect();
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().map_err(|_| anyhow::anyhow!("a reader panicked"))??;
        }
        samples
    })?;
    ensure!(answers.into_inner() > 0, "no reader got an answer, so nothing was measured beside them");
    let busy = percentiles(samples);
    let name = |what: &str| format!("serving.healthz.{portfolios}_portfolios.{what}");
    figures.push(Figure::told(name("alone_p99"), alone.p99, "ms"));
    figures.push(Figure::told(name("8_readers_median"), busy.median, "ms"));
    figures.push(Figure::new(name("8_readers_p99"), busy.p99, "ms", 100.0));
    Ok(())
}

/// Milliseconds.
struct Percentiles {
    median: f64,
    p99: f64,
}

fn percentiles(mut values: Vec<f64>) -> Percentiles {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len() as f64 * share).ceil() as usize).saturating_sub(1)).copied();
    Percentiles { median: at(0.5).unwrap_or(f64::NAN), p99: at(0.99).unwrap_or(f64::NAN) }
}

/// Runs once, and gives the id of the run.
fn run(nightbook: &Path, book: &Path, data: &Path) -> anyhow::Result<String> {
    let output = Command::new(nightbook)
        .args(["run", "--json", "--as-of", &book::AS_OF.to_string(), "--book"])
        .arg(book)
        .arg("--data")
        .arg(data)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .context("cannot start nightbook")?;
    ensure!(output.status.success(), "nightbook run ended with {}", output.status);
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(summary["batch_run_id"].as_str().context("a run without an id")?.to_owned())
}

/// A server on loopback that ends with this value.
struct Server {
    child: Child,
    address: SocketAddr,
    /// Its output stays open, so that it can write more.
    _output: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(nightbook: &Path, book: &Path, data: &Path) -> anyhow::Result<Self> {
        let mut child = Command::new(nightbook)
            .args(["serve", "--listen", "127.0.0.1:0", "--book"])
            .arg(book)
            .arg("--data")
            .arg(data)
            .env_remove("NIGHTBOOK_TOKEN")
            .env_remove("NIGHTBOOK_READ_TOKEN")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start nightbook serve")?;
        let mut output = BufReader::new(child.stdout.take().context("the output of nightbook serve")?);
        let mut first = String::new();
        output.read_line(&mut first)?;
        let address = first.trim().rsplit("http://").next().unwrap_or_default().trim_end_matches('/');
        let address = address.parse().with_context(|| format!("nightbook serve printed no address: {first:?}"))?;
        Ok(Self { child, address, _output: output })
    }

    /// How long `/healthz` takes on a new connection, in milliseconds.
    fn health(&self) -> anyhow::Result<f64> {
        let began = Instant::now();
        self.get("/healthz", "identity")?;
        Ok(began.elapsed().as_secs_f64() * 1_000.0)
    }

    /// Asks once, on a new connection, and reads the answer to its end.
    fn get(&self, path: &str, coding: &str) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let address = self.address;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: {address}\r\naccept-encoding: {coding}\r\nconnection: close\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        ensure!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{path}: {}",
            String::from_utf8_lossy(&answer[..answer.len().min(200)])
        );
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
