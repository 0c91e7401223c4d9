//! Progress bars on a terminal: one for the portfolios, and one for each of the longest-running jobs.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backends::system::SystemClock;
use chrono::NaiveDate;
use domain::ports::Clock as _;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::engine::{Engine, WatchedRunner};

/// Jobs shown at once.
const LONGEST: usize = 3;
/// A job younger than this is not worth a line.
const WORTH_A_LINE: chrono::Duration = chrono::Duration::seconds(2);
/// Time between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// Where progress is drawn; nowhere without a terminal.
#[derive(Debug, Clone)]
pub(crate) struct Bars {
    multi: MultiProgress,
    shown: bool,
}

impl Bars {
    /// Bars on stderr, if it is a terminal and `wanted`.
    pub(crate) fn new(wanted: bool) -> Self {
        use std::io::IsTerminal as _;
        let shown = wanted && std::io::stderr().is_terminal();
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { multi: MultiProgress::with_draw_target(target), shown }
    }

    /// What the logs have to step around.
    pub(crate) const fn multi(&self) -> &MultiProgress {
        &self.multi
    }

    /// Shows a run until [`RunBar::done`].
    pub(crate) fn of_run(&self, engine: &Engine, as_of: NaiveDate, filtered: usize, all: usize) -> RunBar {
        let stopped = Arc::new(AtomicBool::new(!self.shown));
        if self.shown {
            let total = if filtered > 1 { filtered } else { all };
            tokio::spawn(draw(self.multi.clone(), engine.watched(), as_of, total as u64, Arc::clone(&stopped)));
        }
        RunBar { stopped }
    }
}

impl Bars {
    /// A counter that is moved by hand, for a run of which only the number of portfolios that ended is known.
    pub(crate) fn spinner(&self) -> ProgressBar {
        let bar = self.multi.add(ProgressBar::new_spinner());
        let style = ProgressStyle::with_template("{spinner} {pos} portfolios {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar
    }

    /// A bar that is moved by hand, for a run that others work on.
    pub(crate) fn counted(&self, as_of: NaiveDate, total: u64) -> ProgressBar {
        let bar = self.multi.add(ProgressBar::new(total));
        let style = ProgressStyle::with_template("{prefix} {bar:30} {pos}/{len} portfolios {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(as_of.to_string());
        bar
    }
}

/// The bars of one run.
#[derive(Debug)]
pub(crate) struct RunBar {
    stopped: Arc<AtomicBool>,
}

impl RunBar {
    /// Takes them away.
    pub(crate) fn done(self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

async fn draw(
    multi: MultiProgress,
    runner: Arc<WatchedRunner>,
    as_of: NaiveDate,
    total: u64,
    stopped: Arc<AtomicBool>,
) {
    let before = runner.ended.load(Ordering::Relaxed);
    let style = |text: &str| ProgressStyle::with_template(text).unwrap_or_else(|_| ProgressStyle::default_bar());
    let portfolios = multi.add(ProgressBar::new(total));
    portfolios.set_style(style("{prefix} {bar:30} {pos}/{len} portfolios {elapsed} {msg}"));
    portfolios.set_prefix(as_of.to_string());
    let lines: Vec<ProgressBar> = (0..LONGEST)
        .map(|_| {
            let line = multi.add(ProgressBar::new_spinner());
            line.set_style(style("  {msg}"));
            line
        })
        .collect();
    while !stopped.load(Ordering::Relaxed) {
        portfolios.set_position(runner.ended.load(Ordering::Relaxed).saturating_sub(before));
        let longest = longest(&runner);
        for (at, line) in lines.iter().enumerate() {
            line.set_message(longest.get(at).cloned().unwrap_or_default());
        }
        tokio::time::sleep(EVERY).await;
    }
    for line in &lines {
        line.finish_and_clear();
    }
    portfolios.finish_and_clear();
}

fn longest(runner: &WatchedRunner) -> Vec<String> {
    let now = SystemClock.now();
    let in_hand = runner.in_hand.lock().unwrap_or_else(PoisonError::into_inner);
    let mut old: Vec<_> = in_hand.values().filter(|hand| now - hand.since >= WORTH_A_LINE).collect();
    old.sort_by_key(|hand| hand.since);
    old.iter()
        .take(LONGEST)
        .map(|hand| {
            let far = hand
                .context
                .last_progress()
                .map_or_else(String::new, |p| format!(" {}/{} {}", p.done, p.total, crate::output::safe(&p.item)));
            format!("{} {} {}s{far}", hand.portfolio, hand.job, (now - hand.since).num_seconds())
        })
        .collect()
}
