//! The command line as clap reads it. Help texts are for people who have not read the README.

use std::path::PathBuf;

use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::ids::{CauseId, ChannelName, JobName, Month, PortfolioId};
use domain::words::{JobType, RunStatus};

use crate::commands::doctor::ChainLink;

/// Nightbook runs the nightly risk batch of many portfolios, keeps every job of every run on record, and publishes a
/// static status site.
#[derive(Debug, Parser)]
#[command(
    name = "nightbook",
    version,
    arg_required_else_help = true,
    after_help = "Four questions, one command each:\n  nightbook night                    was last night good?\n  nightbook last factor_analysis     when did it last succeed?\n  nightbook show RUN                 which portfolios were processed, and how?\n  nightbook failures                 which causes lie behind the failures?\n\nExit codes: 0 all well, 1 the run is partial or failed, 2 bad input or settings, 3 a store, the output or the machine failed, 130 interrupted.\nLogs go to stderr; LOG_LEVEL=debug says more, ENVIRONMENT=production gives JSON lines."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Print one JSON document on stdout and nothing else.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Where the records, the results and the site are.
#[derive(Debug, Clone, Args)]
pub(crate) struct DataDir {
    /// Folder of the records, the results and the site; or, with the feature `aws`, a table: `dynamodb://TABLE`.
    #[arg(long, value_name = "DIR", default_value = "nightbook-data", value_parser = crate::place::parse)]
    pub(crate) data: PathBuf,
}

/// The book.
#[derive(Debug, Clone, Args)]
pub(crate) struct BookDir {
    /// Folder of portfolios.csv, positions.csv, prices.csv (or prices/) and nightbook.toml.
    #[arg(long, value_name = "DIR")]
    pub(crate) book: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a sample book, run ten trading days of it (some with failures), publish the site and serve it.
    Demo {
        /// Folder for DIR/book and DIR/data.
        #[arg(long, value_name = "DIR", default_value = "nightbook-demo")]
        dir: PathBuf,
        /// Stop after publishing.
        #[arg(long)]
        no_serve: bool,
        /// The last of the ten sessions; default: the last completed one.
        #[arg(long, value_name = "DATE")]
        as_of: Option<NaiveDate>,
        /// Address to serve on; port 0 takes a free one.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
        listen: String,
    },
    /// Write a commented sample book to fill in.
    Init {
        /// Folder that does not exist yet, or is empty.
        dir: PathBuf,
    },
    /// Run the batch for one trading date, or for each of a span of dates, oldest first.
    ///
    /// The same command again continues what is unfinished, or shows a finished run that had the same inputs. Of a span
    /// only the nights without such a run are run, and where the inputs of some portfolios changed only these.
    Run {
        #[command(flatten)]
        book: BookDir,
        #[command(flatten)]
        data: DataDir,
        /// Trading date; default: the last completed session.
        #[arg(long, value_name = "DATE", conflicts_with_all = ["from", "to"])]
        as_of: Option<NaiveDate>,
        /// First date of a backfill.
        #[arg(long, value_name = "DATE", requires = "to")]
        from: Option<NaiveDate>,
        /// Last date of a backfill.
        #[arg(long, value_name = "DATE", requires = "from")]
        to: Option<NaiveDate>,
        /// Only this portfolio; may be given more than once.
        #[arg(long = "portfolio", value_name = "ID")]
        portfolios: Vec<PortfolioId>,
        /// What starts the run, as the record shows it.
        #[arg(long, value_name = "NAME", default_value = "manual")]
        trigger: String,
        /// Run again, though a run with the same inputs is finished.
        #[arg(long)]
        again: bool,
        /// Print which nights would run, with the reasons, and run nothing.
        #[arg(long)]
        plan: bool,
        /// Jobs worked on at once; default: the setting, else the cores.
        #[arg(long, value_name = "N")]
        concurrency: Option<usize>,
        /// In the cloud: wait until the run is closed.
        #[arg(long)]
        wait: bool,
    },
    /// The site, the scheduler and the watch, in one process.
    Serve {
        #[command(flatten)]
        book: BookDir,
        #[command(flatten)]
        data: DataDir,
        /// Address to listen on.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
        listen: String,
    },
    /// Read a book and name every error in it, with file, line, column, text and what is allowed.
    Check {
        #[command(flatten)]
        book: BookDir,
    },
    /// The runs, newest first.
    History {
        #[command(flatten)]
        data: DataDir,
        /// Only runs of this status.
        #[arg(long, value_name = "STATUS")]
        status: Option<RunStatus>,
        /// Only runs of trading dates in this month, as yyyy-mm.
        #[arg(long, value_name = "YYYY-MM")]
        month: Option<Month>,
        /// At most so many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// Go on where a page ended (its "next").
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// A night: whether it is good, its causes and controls, and what to do.
    ///
    /// Exits with 0 where the verdict is ok or warning, with 1 where it is not or there is no night, and with 2 where the
    /// date has no session.
    Night {
        /// The trading date; default: the newest night.
        #[arg(value_name = "DATE")]
        as_of: Option<NaiveDate>,
        #[command(flatten)]
        data: DataDir,
    },
    /// Accept a control result: record who relies on it all the same, and why. The night then does not count it.
    Accept {
        /// The trading date of the night.
        #[arg(value_name = "DATE")]
        as_of: NaiveDate,
        /// The control, as `nightbook night` names it.
        #[arg(long, value_name = "C")]
        control: String,
        /// Only the results of this portfolio; default: all results of the control.
        #[arg(long, value_name = "P")]
        portfolio: Option<PortfolioId>,
        /// Why, for those who read it on the pages of the night.
        #[arg(long, value_name = "TEXT")]
        note: String,
        /// Who accepts; default: the user of this process.
        #[arg(long, value_name = "NAME")]
        author: Option<String>,
        #[command(flatten)]
        data: DataDir,
    },
    /// One run: its summary, its jobs, or the full results of a portfolio in it.
    ///
    /// A trading date is the newest full run of that date, "latest" that of the newest night. With --portfolio either is
    /// the run that decides the jobs of the portfolio.
    Show {
        /// The run: its id, the beginning of it, a trading date, or "latest".
        run: String,
        #[command(flatten)]
        data: DataDir,
        /// All jobs and, with --json, the full results of this portfolio.
        #[arg(long, value_name = "ID")]
        portfolio: Option<PortfolioId>,
        /// Only this job.
        #[arg(long, value_name = "JOB")]
        job: Option<JobName>,
        /// Only jobs of this family.
        #[arg(long, value_name = "T")]
        job_type: Option<JobType>,
    },
    /// When a job last succeeded, overall or for a portfolio.
    Last {
        /// The job, for example `factor_analysis`.
        job: JobName,
        #[command(flatten)]
        data: DataDir,
        /// Only for this portfolio.
        #[arg(long, value_name = "ID")]
        portfolio: Option<PortfolioId>,
    },
    /// The causes of failures over the runs, one line each.
    Failures {
        #[command(flatten)]
        data: DataDir,
        /// How far back from the newest run, for example 30d or 12h.
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = parse_span)]
        since: chrono::Duration,
    },
    /// Run a finished run again on its pinned inputs, as a new run.
    Rerun {
        /// The run: its id, the beginning of it, a trading date, or "latest".
        run: String,
        #[command(flatten)]
        data: DataDir,
        /// Only the portfolios with failed, skipped or missing jobs, all jobs of each.
        #[arg(long)]
        failed: bool,
        /// Only the portfolios with this cause that have not succeeded since, all jobs of each.
        #[arg(long, value_name = "CAUSE", conflicts_with = "failed")]
        cause: Option<CauseId>,
        /// Jobs worked on at once; default: the cores.
        #[arg(long, value_name = "N")]
        concurrency: Option<usize>,
        /// In the cloud: wait until the run is closed.
        #[arg(long)]
        wait: bool,
    },
    /// End an open run early: what has not ended is given up, the run is closed.
    Cancel {
        /// The run: its id, the beginning of it, a trading date, or "latest".
        run: String,
        #[command(flatten)]
        data: DataDir,
    },
    /// Verify everything that is stored, in a folder or a table, by its content hashes and the chain of closed runs.
    Doctor {
        #[command(flatten)]
        data: DataDir,
        /// Also verify that the chain holds this link: its hash, or NUMBER:HASH, from an older status.json, feed or alert.
        /// May be given more than once.
        #[arg(long, value_name = "HASH")]
        link: Vec<ChainLink>,
    },
    /// Publish the site again for the newest run, or all of it from the records.
    Publish {
        #[command(flatten)]
        data: DataDir,
        /// Every page, from the records alone.
        #[arg(long)]
        rebuild: bool,
        /// Take title, address and schedule of the site from this book.
        #[arg(long, value_name = "DIR")]
        book: Option<PathBuf>,
    },
    /// The job records of a run, for other programs.
    Export {
        /// The run: its id, the beginning of it, a trading date, or "latest".
        run: String,
        #[command(flatten)]
        data: DataDir,
        /// The form.
        #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
        format: ExportFormat,
    },
    /// Who is told about runs, and of what: try a channel, list what is open, mute it for a while.
    Alert {
        #[command(subcommand)]
        command: AlertCommand,
    },
    /// Messages of the cloud that were given up: list them, or send them again.
    #[command(name = "deadletters")]
    DeadLetters {
        #[command(subcommand)]
        command: DeadLettersCommand,
    },
    /// Copy the whole data folder while it is in use, or verify a copy.
    Backup {
        /// Folder that does not exist yet; with --verify, the backup.
        to: PathBuf,
        /// Verify an existing backup: every file, and everything that `doctor` verifies. Nothing is changed.
        #[arg(long, conflicts_with = "data")]
        verify: bool,
        #[command(flatten)]
        data: DataDir,
    },
    /// Print the completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What can be done about messages that were given up.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// What was given up, from which queue.
    List {
        #[command(flatten)]
        data: DataDir,
    },
    /// Send all of it again to where it came from. For a run that is closed it changes nothing.
    Redrive {
        #[command(flatten)]
        data: DataDir,
    },
}

/// What can be done about alerts.
#[derive(Debug, Subcommand)]
pub(crate) enum AlertCommand {
    /// Send a test message through a channel, and say whether it got through.
    Test {
        /// The channel, as `nightbook.toml` calls it; the `command` of `[alerts]` is called command.
        channel: ChannelName,
        #[command(flatten)]
        data: DataDir,
        /// Take the channels from this book; default: those of the book that was run last.
        #[arg(long, value_name = "DIR")]
        book: Option<PathBuf>,
    },
    /// What is open: incidents, mutes, and messages that could not be delivered.
    List {
        #[command(flatten)]
        data: DataDir,
    },
    /// Tell nobody of a cause, or of a portfolio, for a while. The site shows it.
    Mute {
        /// The cause, as `alert list` and `failures` print it; leave it out with --portfolio.
        #[arg(required_unless_present = "portfolio", conflicts_with = "portfolio")]
        fingerprint: Option<CauseId>,
        /// All causes of this portfolio instead.
        #[arg(long, value_name = "ID")]
        portfolio: Option<PortfolioId>,
        /// The last day of the mute, in UTC.
        #[arg(long, value_name = "DATE")]
        until: NaiveDate,
        /// Why, for those who read it on the site.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        data: DataDir,
    },
}

/// The forms of `export`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// One JSON record a line.
    Jsonl,
    /// A table with a header line.
    Csv,
    /// One OpenLineage event a line: the run, and each job of each portfolio as a part of it.
    Openlineage,
}

/// A trigger stands in every table of runs: a short text on one line.
/// Reads `30d`, `12h` or `90m`.
fn parse_span(text: &str) -> Result<chrono::Duration, String> {
    let wrong = || format!("{text:?} is no time: write a whole number and d, h or m, for example 30d");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number: i64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        _ => return Err(wrong()),
    };
    number
        .checked_mul(seconds)
        .filter(|seconds| (0..=100 * 366 * 86_400).contains(seconds))
        .map(chrono::Duration::seconds)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn spans_are_read_or_refused() {
        assert_eq!(parse_span("30d"), Ok(chrono::Duration::days(30)));
        assert_eq!(parse_span("12h"), Ok(chrono::Duration::hours(12)));
        for bad in ["", "d", "30", "x", "1y", "-1d", "9999999999999d", "ü"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }
}
