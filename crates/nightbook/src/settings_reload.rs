//! Reads `nightbook.toml` again when it changes or on SIGHUP, and puts its settings in force as a whole.
//!
//! Settings that are invalid, or that cannot be stored in the data folder, change nothing: the earlier ones stay in
//! force, the site shows a warning, and the log has one line for each cause.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backends::system::SystemClock;
use book::{Book, FolderSource, Settings, SettingsStamp, read_settings};
use domain::ports::Clock as _;
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::commands::run::count;
use crate::engine::Engine;
use crate::live_settings::LiveSettings;
use crate::stop::Stop;

/// The file of the settings, in the folder of the book.
const SETTINGS_FILE: &str = "nightbook.toml";

/// Time between two looks at the file.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// When to read the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Read {
    /// If it changed.
    Changed,
    /// In any case.
    Always,
}

/// The outcome of a look, from the least to what changes most.
#[must_use = "the site shows a replaced setting only once it is written again"]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// The settings in force and the warning are as before.
    Same,
    /// Other settings are in force, or the warning has changed.
    Replaced,
    /// The site was not redacted before, and is now.
    Redacted,
}

/// The state of the file at a look; `None`: the folder could not be read.
type Seen = Option<SettingsStamp>;

#[derive(Debug, Default)]
struct Looks {
    /// As it was at the last look.
    seen: Option<Seen>,
    /// As it was when it was last read.
    read: Option<Seen>,
    /// Whether the settings in force were read from a file. A file that is then deleted does not bring the defaults back.
    from_file: bool,
}

/// Reads the settings of one book for one process. The only place that replaces [`LiveSettings`].
#[derive(Debug)]
pub(crate) struct SettingsReload {
    book_dir: PathBuf,
    data: PathBuf,
    live: Arc<LiveSettings>,
    /// Held while the file is read and its settings are put in force, so that an older reading never wins.
    looks: Mutex<Looks>,
}

impl SettingsReload {
    /// Reloads the settings of the book in `book_dir` into `live`, and stores them in the data folder.
    pub(crate) fn new(book_dir: &Path, data: &Path, live: Arc<LiveSettings>) -> Self {
        let looks = Looks { from_file: book_dir.join(SETTINGS_FILE).exists(), ..Looks::default() };
        Self { book_dir: book_dir.to_owned(), data: data.to_owned(), live, looks: Mutex::new(looks) }
    }

    /// Looks at the file, and reads it as `when` says once two looks in a row saw the same: an editor may be writing it.
    pub(crate) fn look(&self, when: Read) -> Outcome {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = || FolderSource::new(&self.book_dir).settings_stamp().ok();
        let now = stamp();
        let settled = looks.seen.replace(now) == Some(now);
        if when == Read::Always {
            // The next look that finds it settled reads it, this one or a later one.
            looks.read = None;
        }
        if !settled || looks.read == Some(now) {
            return Outcome::Same;
        }
        let settings = self.read(&mut looks);
        if stamp() != now {
            // Somebody is writing it; the next look sees another stamp.
            looks.seen = None;
            return Outcome::Same;
        }
        looks.read = Some(now);
        match settings {
            Ok(settings) => self.offer(settings),
            Err(why) => self.refuse(&why),
        }
    }

    /// Takes over what a newer book says of its portfolios: names of owners, tags, currencies.
    pub(crate) fn take_portfolios(&self, book: &Book) -> Outcome {
        let _looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.live.current();
        let next = current.settings.with_portfolios_of(book);
        if next == current.settings || current.refused.is_some() {
            return Outcome::Same;
        }
        if let Err(why) = next.without_key().keep(&self.data, SystemClock.now()) {
            return self.refuse(&self.not_stored(&why));
        }
        self.live.apply(next, SystemClock.now());
        Outcome::Replaced
    }

    fn read(&self, looks: &mut Looks) -> Result<Settings, String> {
        let exists = self.book_dir.join(SETTINGS_FILE).exists();
        if looks.from_file && !exists {
            let book = self.book_dir.display();
            return Err(format!(
                "{SETTINGS_FILE} is gone from {book}: restore it, or write an empty one for the defaults."
            ));
        }
        looks.from_file = exists;
        let reading = read_settings(&FolderSource::new(&self.book_dir)).map_err(|error| error.to_string())?;
        reading.settings.ok_or_else(|| {
            let first = reading.errors.first().map(ToString::to_string).unwrap_or_default();
            let (errors, book) = (count(reading.errors.len(), "error"), self.book_dir.display());
            format!("{first}. `nightbook check --book {book}` lists {errors}.")
        })
    }

    fn offer(&self, settings: Settings) -> Outcome {
        let before = self.live.current();
        let changed = sections(before.settings.settings(), &settings);
        // What was in doubt may be stated by now, or the key be back: neither changes a setting.
        if changed.is_empty() && before.refused.is_none() && !before.settings.is_withheld() {
            return Outcome::Same;
        }
        if let Some(why) = before.settings.refusal_of(&settings) {
            return self.refuse(&why);
        }
        let next = before.settings.with_settings(settings);
        // Stored without the key of a redacted site, which has a file of its own. Settings without their key are not stored.
        let next = match next.with_redaction_key(&self.data, before.settings.is_redacted()) {
            Ok(next) => next,
            Err(why) => return self.refuse(&why.to_string()),
        };
        if let Err(why) = next.without_key().keep(&self.data, SystemClock.now()) {
            return self.refuse(&self.not_stored(&why));
        }
        let redacted = next.is_redacted() && !before.settings.is_redacted();
        self.live.apply(next, SystemClock.now());
        tracing::info!(
            changed = changed.join(", "),
            event = "settings.applied",
            "the settings of the book are in force"
        );
        if redacted { Outcome::Redacted } else { Outcome::Replaced }
    }

    fn not_stored(&self, why: &std::io::Error) -> String {
        format!("the settings cannot be stored in {}: {why}", self.data.display())
    }

    fn refuse(&self, why: &str) -> Outcome {
        if !self.live.refuse(why) {
            return Outcome::Same;
        }
        tracing::warn!(
            error = domain::redact::redact(why),
            event = "settings.refused",
            "the settings of the book are invalid; the earlier settings stay in force"
        );
        Outcome::Replaced
    }
}

/// The parts of the settings that differ, by the names under which they are stored.
fn sections(before: &Settings, after: &Settings) -> Vec<String> {
    let parts = |settings: &Settings| match serde_json::to_value(settings) {
        Ok(Value::Object(parts)) => parts,
        _ => unreachable!("settings are stored as a JSON object"),
    };
    let (before, after) = (parts(before), parts(after));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

/// What wakes a reload: the time for a look, or SIGHUP. From its making on, SIGHUP no longer ends the process.
pub(crate) struct Wake {
    hang_up: Signal,
    ticks: Interval,
}

impl Wake {
    /// Listens for SIGHUP from now on.
    ///
    /// # Errors
    /// The signal cannot be listened for.
    pub(crate) fn new() -> std::io::Result<Self> {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Ok(Self { hang_up: signal(SignalKind::hangup())?, ticks })
    }

    async fn next(&mut self) -> Read {
        tokio::select! {
            _ = self.hang_up.recv() => Read::Always,
            _ = self.ticks.tick() => Read::Changed,
        }
    }
}

/// Looks at the settings until the process stops, and shows on the site what changed.
pub(crate) async fn keep_looking(reload: Arc<SettingsReload>, engine: Arc<Engine>, mut wake: Wake, mut stop: Stop) {
    loop {
        let when = tokio::select! {
            () = stop.stopped() => return,
            when = wake.next() => when,
        };
        let looking = Arc::clone(&reload);
        match tokio::task::spawn_blocking(move || looking.look(when)).await {
            Ok(outcome) => engine.show_settings(outcome).await,
            Err(error) => {
                tracing::warn!(error = %error, event = "settings.refused", "the settings could not be read; the next look tries again");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::init_files;
    use crate::site_settings::SiteSettings;

    struct Place {
        dir: tempfile::TempDir,
        live: Arc<LiveSettings>,
        reload: SettingsReload,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let (book, data) = (dir.path().join("book"), dir.path().join("data"));
            std::fs::create_dir(&book).unwrap();
            std::fs::create_dir(&data).unwrap();
            for (name, text) in init_files() {
                std::fs::write(book.join(name), text).unwrap();
            }
            let read = crate::book_folder::read_usable(&book).unwrap();
            let live = Arc::new(LiveSettings::new(SiteSettings::of(&read, &book)));
            let reload = SettingsReload::new(&book, &data, Arc::clone(&live));
            Self { dir, live, reload }
        }

        fn write(&self, settings: &str) {
            std::fs::write(self.dir.path().join("book/nightbook.toml"), settings).unwrap();
        }

        /// Looks twice, so that the file is settled at the second look.
        fn reloaded(&self) -> Outcome {
            let first = self.reload.look(Read::Changed);
            first.max(self.reload.look(Read::Always))
        }

        fn title(&self) -> String {
            self.live.current().settings.settings().site.title.clone()
        }
    }

    #[test]
    fn a_file_that_is_being_written_is_not_read_before_two_looks_see_the_same() {
        let place = Place::new();
        assert_eq!(place.reload.look(Read::Changed), Outcome::Same);
        assert_eq!(place.reload.look(Read::Changed), Outcome::Same, "the settings at the start are in force");
        place.write("");
        assert_eq!(place.reload.look(Read::Changed), Outcome::Same, "an editor has emptied the file");
        place.write("[site]\ntitle = \"Second\"\n");
        assert_eq!(place.reload.look(Read::Changed), Outcome::Same);
        assert_ne!(place.title(), "Second");
        assert_eq!(place.reload.look(Read::Changed), Outcome::Replaced);
        assert_eq!(place.title(), "Second");
        assert_eq!(SiteSettings::kept(&place.dir.path().join("data")).settings().site.title, "Second", "stored");
    }

    #[test]
    fn invalid_settings_change_nothing_and_a_cause_is_refused_once() {
        let place = Place::new();
        place.write("[site]\ntitle = \"First\"\n");
        assert_eq!(place.reloaded(), Outcome::Replaced);
        place.write("[site]\ntitle = \"Second\"\n[schedule]\ncron = \"never\"\n");
        assert_eq!(place.reloaded(), Outcome::Replaced);
        assert_eq!(place.reloaded(), Outcome::Same, "the same cause again");
        let current = place.live.current();
        assert!(current.refused.as_ref().is_some_and(|why| why.contains("cron")), "{current:?}");
        assert_eq!(place.title(), "First", "no part of them is in force");
        place.write("[site]\ntitle = \"First\"\n");
        assert_eq!(place.reloaded(), Outcome::Replaced, "the warning goes");
        assert_eq!(place.live.current().refused, None);
    }

    #[test]
    fn a_hang_up_does_not_read_a_file_that_is_being_written() {
        let place = Place::new();
        place.write("[site]\ntitle = \"First\"\ndetail = \"redacted\"\n");
        assert_eq!(place.reloaded(), Outcome::Redacted);
        place.write("");
        assert_eq!(place.reload.look(Read::Always), Outcome::Same, "an editor has emptied the file");
        place.write("[site]\ntitle = \"Second\"\ndetail = \"redacted\"\n");
        assert_eq!(place.reload.look(Read::Changed), Outcome::Same);
        assert!(place.live.current().settings.is_redacted(), "the defaults were never in force");
        assert_eq!(place.reload.look(Read::Changed), Outcome::Replaced, "and it is read, as was asked");
        assert_eq!(place.title(), "Second");
    }

    #[test]
    fn a_deleted_file_does_not_bring_the_defaults_back() {
        let place = Place::new();
        place.write("[site]\ntitle = \"First\"\ndetail = \"redacted\"\n");
        assert_eq!(place.reloaded(), Outcome::Redacted);
        std::fs::remove_file(place.dir.path().join("book/nightbook.toml")).unwrap();
        assert_eq!(place.reloaded(), Outcome::Replaced, "the warning is new");
        let current = place.live.current();
        assert!(current.settings.is_redacted() && current.refused.as_ref().is_some_and(|why| why.contains("is gone")));
        assert_eq!(place.title(), "First");
    }

    #[test]
    fn a_site_that_becomes_redacted_is_said_to() {
        let place = Place::new();
        place.write("[site]\ndetail = \"redacted\"\n");
        assert_eq!(place.reloaded(), Outcome::Redacted);
        let options = place.live.current().options(chrono::DateTime::UNIX_EPOCH);
        assert!(options.redacted && !options.redaction_key.is_empty());
    }

    #[test]
    fn settings_that_cannot_be_stored_are_refused() {
        let place = Place::new();
        std::fs::remove_dir(place.dir.path().join("data")).unwrap();
        place.write("[site]\ntitle = \"Second\"\n");
        assert_eq!(place.reloaded(), Outcome::Replaced);
        assert_ne!(place.title(), "Second");
        assert!(place.live.current().refused.as_ref().is_some_and(|why| why.contains("cannot be stored")));
    }

    #[test]
    fn what_changed_is_named() {
        let mut after = Settings::default();
        after.schedule.grace_minutes += 1;
        after.site.title.push('!');
        assert_eq!(sections(&Settings::default(), &after), ["schedule", "site"]);
    }
}
