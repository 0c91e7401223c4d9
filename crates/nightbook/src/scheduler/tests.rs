//! The scheduler, round by round.

use std::sync::Mutex;

use app::{AnnotateRequest, BookOf, StartRequest};
use book::next_due_slot;
use chrono::TimeDelta;
use domain::identity;
use domain::ids::Owner;
use domain::note::NoteKind;
use domain::ports::{Clock, Creation, RunQuery};
use domain::run::Publication;

use super::*;
use crate::run_control::{of_command, serving};
use crate::sample::init_files;
use crate::stop::Stop;

struct Place {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl Place {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("book")).unwrap();
        for (name, text) in init_files() {
            std::fs::write(dir.path().join("book").join(name), text).unwrap();
        }
        let settings = SiteSettings::of(&read_usable(&dir.path().join("book")).unwrap(), &dir.path().join("book"));
        let stop = Stop::on_signals().unwrap();
        let engine = Engine::open(&dir.path().join("data"), settings, Some(1), stop).await.unwrap();
        Self { dir, engine }
    }

    fn book(&self) -> PathBuf {
        self.dir.path().join("book")
    }

    async fn scheduler(&self) -> Scheduler {
        let reload = SettingsReload::new(&self.book(), self.engine.store.folder(), Arc::clone(&self.engine.settings));
        let book = read_usable(&self.book()).unwrap();
        Scheduler::new(&self.engine, &self.book(), book, Arc::new(reload)).await.unwrap()
    }

    /// The phases of all runs, oldest first.
    async fn runs(&self) -> Vec<(Run, bool)> {
        let page = self.engine.store.runs(&RunQuery { limit: 100, ..RunQuery::default() }).await.unwrap();
        let mut runs: Vec<Run> = page.runs.into_iter().map(|stored| stored.run).collect();
        runs.reverse();
        runs.into_iter().map(|run| (run.clone(), run.phase == RunPhase::Missed)).collect()
    }
}

/// A clock that a test sets.
#[derive(Debug, Clone)]
struct SetClock(Arc<Mutex<DateTime<Utc>>>);

impl Clock for SetClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

/// A clock that goes on by a second whenever it is asked, so that the order of starts shows.
#[derive(Debug)]
struct Ticking(Mutex<DateTime<Utc>>);

impl Clock for Ticking {
    fn now(&self) -> DateTime<Utc> {
        let mut now = self.0.lock().unwrap();
        *now += TimeDelta::seconds(1);
        *now
    }
}

/// A Monday, before its slot at 23:30.
const MONDAY: &str = "2027-03-08T22:00:00Z";

/// In the grace of the slot of that Monday.
const MONDAY_NIGHT: &str = "2027-03-08T23:35:00Z";

impl Place {
    /// A place whose clock stands at this instant. Its records begin earlier.
    async fn at(now: &str) -> (Self, SetClock) {
        let mut place = Self::new().await;
        let clock = SetClock(Arc::new(Mutex::new(now.parse().unwrap())));
        place.engine.ports.clock = Arc::new(clock.clone());
        (place, clock)
    }

    /// Settings in place of those of the book.
    fn set(&self, settings: &str) {
        std::fs::write(self.book().join("nightbook.toml"), settings).unwrap();
    }

    /// Adds closes of these dates to the book, so that its jobs have prices.
    fn add_closes(&self, dates: &[&str]) {
        let file = self.book().join("prices.csv");
        let mut text = std::fs::read_to_string(&file).unwrap();
        for date in dates {
            text.push_str(&format!("{date},AAPL,194\n{date},SPY,528\n"));
        }
        std::fs::write(file, text).unwrap();
    }

    /// A scheduler as a new process makes it, with the settings of the book as it is.
    async fn restarted(&self) -> Scheduler {
        let (book, now) = (self.book(), self.engine.ports.clock.now());
        let settings = SiteSettings::of(&read_usable(&book).unwrap(), &book);
        settings.keep(self.engine.store.folder(), now).unwrap();
        self.engine.settings.apply(settings, now);
        self.scheduler().await
    }

    /// Runs all portfolios of a date by hand.
    async fn run_by_hand(&self, date: &str) {
        let book = Arc::new(read_usable(&self.book()).unwrap());
        let control = of_command(&self.engine, BookOf::Loaded(Arc::clone(&book)));
        let request = StartRequest {
            as_of: Some(date.parse().unwrap()),
            portfolios: Vec::new(),
            trigger: "manual".to_owned(),
            again: false,
        };
        let work = control.decide_start(&request).await.unwrap();
        one(&self.engine, &book, &work.start, self.engine.prices(&book)).await.unwrap();
    }

    /// The dates of the scheduled runs, or of the recorded missed slots, in the order in which they began.
    async fn scheduled(&self, missed: bool) -> Vec<String> {
        let mut runs = self.runs().await;
        runs.retain(|(run, is_missed)| run.is_scheduled() && *is_missed == missed);
        runs.sort_by_key(|(run, _)| run.started_at);
        runs.into_iter().map(|(run, _)| run.as_of.to_string()).collect()
    }
}

/// A job that ends well, and makes the book unusable.
const BREAKS_THE_BOOK: &str = r#"
[[jobs]]
name = "breaks"
needs = []
command = ["sh", "-c", '''
cat > /dev/null
echo broken > nightbook.toml
echo '{"status": "success"}'
''']
"#;

#[tokio::test]
async fn of_several_slots_the_newest_is_run_first_and_the_site_names_the_others_until_they_are_run() {
    let (mut place, _) = Place::at("2027-03-01T23:35:00Z").await;
    let mut scheduler = place.restarted().await;
    scheduler.seen = "2027-03-01T12:00:00Z".parse().unwrap();
    scheduler.round(&place.engine).await.unwrap();
    place.engine.ports.clock = Arc::new(Ticking(Mutex::new(MONDAY.parse().unwrap())));
    let usable = std::fs::read_to_string(place.book().join("nightbook.toml")).unwrap();
    place.add_closes(&["2027-03-04", "2027-03-05"]);
    place.set(&(usable.clone() + BREAKS_THE_BOOK));
    place.restarted().await.round(&place.engine).await.unwrap();
    assert_eq!(place.scheduled(false).await, ["2027-03-01", "2027-03-05"]);
    assert_eq!(place.scheduled(true).await, ["2027-03-02", "2027-03-03", "2027-03-04"]);
    let status = std::fs::read_to_string(place.engine.site_folder().join("status.json")).unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let shown = (&status["as_of"], status["night"]["next_step"]["command"].as_str().unwrap_or_default());
    assert!(*shown.0 == "2027-03-05" && shown.1.contains("--from 2027-03-02 --to 2027-03-04"), "{status}");

    // Another process goes on, and a slot that comes meanwhile is the newest.
    place.set(&usable);
    place.engine.ports.clock = Arc::new(Ticking(Mutex::new(MONDAY_NIGHT.parse().unwrap())));
    place.restarted().await.round(&place.engine).await.unwrap();
    let expected = ["2027-03-01", "2027-03-05", "2027-03-08", "2027-03-02", "2027-03-03", "2027-03-04"];
    assert_eq!(place.scheduled(false).await, expected);
    assert!(place.scheduled(true).await.is_empty());
}

#[tokio::test]
async fn pages_that_could_not_be_written_after_a_note_are_written_by_the_next_round() {
    let (place, _) = Place::at(MONDAY).await;
    place.run_by_hand("2027-03-05").await;
    let run = place.runs().await[0].0.batch_run_id;
    let page = place.engine.site_folder().join(format!("runs/{run}/index.html"));
    std::fs::remove_file(&page).unwrap();
    std::fs::create_dir(&page).unwrap();
    let control = serving(&place.engine, place.book());
    let note = AnnotateRequest {
        run,
        kind: NoteKind::Annotate,
        author: "Zoë".to_owned(),
        text: "the vendor was late".to_owned(),
        id: None,
    };
    control.annotate(&note).await.unwrap();
    assert_eq!(place.runs().await[0].0.publication, Publication::Pending, "a process that dies now loses nothing");
    place.engine.publish_asked().await;
    let publication = place.runs().await[0].0.publication.clone();
    assert!(matches!(publication, Publication::Failed { .. }), "{publication:?}");
    std::fs::remove_dir(&page).unwrap();
    place.scheduler().await.round(&place.engine).await.unwrap();
    let publication = place.runs().await[0].0.publication.clone();
    assert!(matches!(publication, Publication::Published { .. }), "{publication:?}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("the vendor was late"));
}

#[tokio::test]
async fn dates_that_were_run_by_hand_are_neither_run_again_nor_missed() {
    let (place, clock) = Place::at(MONDAY).await;
    for date in ["2027-02-26", "2027-03-01", "2027-03-03", "2027-03-04"] {
        place.run_by_hand(date).await;
    }
    place.restarted().await.round(&place.engine).await.unwrap();
    assert_eq!(place.scheduled(false).await, ["2027-03-05"], "only the night after those by hand");
    assert!(place.scheduled(true).await.is_empty());

    *clock.0.lock().unwrap() = "2027-03-12T22:00:00Z".parse().unwrap();
    for date in ["2027-03-08", "2027-03-10"] {
        place.run_by_hand(date).await;
    }
    place.set("[schedule]\ncatch_up = false\n");
    place.restarted().await.round(&place.engine).await.unwrap();
    assert_eq!(place.scheduled(true).await, ["2027-03-09", "2027-03-11"], "those between the nights by hand");
    assert_eq!(place.scheduled(false).await, ["2027-03-05"]);
}

#[tokio::test]
async fn a_renamed_schedule_begins_now_and_one_with_its_series_goes_on() {
    for (settings, expected) in [
        ("[schedule]\nname = \"evening\"\n", &["2027-03-08"][..]),
        ("[schedule]\nname = \"evening\"\nseries = \"nightly\"\n", &["2027-03-04", "2027-03-05", "2027-03-08"]),
    ] {
        let (place, clock) = Place::at("2027-03-03T23:40:00Z").await;
        let mut first = place.restarted().await;
        first.seen = "2027-03-01T12:00:00Z".parse().unwrap();
        first.round(&place.engine).await.unwrap();
        let before = place.runs().await.len();
        *clock.0.lock().unwrap() = MONDAY.parse().unwrap();
        place.set(settings);
        place.restarted().await.round(&place.engine).await.unwrap();
        *clock.0.lock().unwrap() = MONDAY_NIGHT.parse().unwrap();
        place.restarted().await.round(&place.engine).await.unwrap();
        let runs = place.runs().await;
        let renamed: Vec<String> = runs
            .iter()
            .filter(|(run, missed)| run.schedule.as_str() == "evening" && !missed)
            .map(|(run, _)| run.as_of.to_string())
            .collect();
        assert_eq!(renamed, expected, "{settings}");
        assert_eq!(runs.len(), before + expected.len(), "{settings}");
    }
}

#[tokio::test]
async fn the_planning_deadline_of_a_slot_follows_the_settings_when_it_is_missed_and_when_it_is_run_late() {
    let (place, clock) = Place::at(MONDAY).await;
    let usable = "[run]\ndeadline_minutes = 45\n";
    place.set(usable);
    let mut scheduler = place.restarted().await;
    scheduler.seen = "2027-03-05T12:00:00Z".parse().unwrap();
    place.set("no settings");
    scheduler.round(&place.engine).await.unwrap();
    let minutes = |run: &Run| (run.planning_due_at() - run.started_at).num_minutes();
    let missed = place.runs().await;
    assert!(missed.len() == 1 && missed[0].1, "{missed:?}");
    assert_eq!(minutes(&missed[0].0), 45);
    *clock.0.lock().unwrap() += TimeDelta::minutes(10);
    place.set(usable);
    scheduler.round(&place.engine).await.unwrap();
    let late = place.runs().await;
    assert!(late.len() == 1 && late[0].0.is_closed(), "{late:?}");
    assert_eq!((minutes(&late[0].0), late[0].0.started_at), (45, clock.now()));
}

/// As if the machine had slept through the slots of nine days: two or more, whatever holidays they have.
fn asleep(scheduler: &mut Scheduler, engine: &Engine) -> usize {
    scheduler.seen = engine.ports.clock.now() - TimeDelta::days(9);
    let mut probe = scheduler.seen;
    let mut slots = 0;
    let schedule = &scheduler.rules.schedule;
    let grace = TimeDelta::minutes(i64::from(schedule.grace_minutes));
    while let Some(slot) = next_due_slot(schedule, probe).filter(|slot| *slot + grace < engine.ports.clock.now()) {
        probe = slot;
        slots += 1;
    }
    slots
}

#[tokio::test]
async fn slots_that_waited_for_a_book_are_missed_once_and_run_late_even_by_another_process() {
    let place = Place::new().await;
    let mut scheduler = place.scheduler().await;
    let slots = asleep(&mut scheduler, &place.engine);
    assert!(slots >= 2, "a week has more than {slots} sessions");
    let settings = place.book().join("nightbook.toml");
    let usable = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, "no settings").unwrap();
    for _ in 0..2 {
        scheduler.round(&place.engine).await.unwrap();
        let missed = place.runs().await.iter().filter(|(_, missed)| *missed).count();
        assert_eq!((missed, place.runs().await.len()), (slots, slots), "each once");
    }
    std::fs::write(&settings, usable).unwrap();
    let mut next = place.scheduler().await;
    next.round(&place.engine).await.unwrap();
    let runs = place.runs().await;
    assert_eq!(runs.iter().filter(|(_, missed)| *missed).count(), 0, "{runs:?}");
    assert!(runs.iter().take(slots).all(|(run, _)| run.is_closed() && run.plan.is_some()), "{runs:?}");
}

#[tokio::test]
async fn a_run_that_cannot_go_on_keeps_no_slot_from_being_run() {
    let place = Place::new().await;
    let mut scheduler = place.scheduler().await;
    let slots = asleep(&mut scheduler, &place.engine);
    let now = place.engine.ports.clock.now();
    let mut bad = scheduler.rules.scheduled(now);
    bad.rerun_of = Some(identity::scheduled(&bad.schedule, now + TimeDelta::days(1)));
    bad.repeat = 1;
    let open = bad.planning(Owner(uuid::Uuid::nil()), now, now - TimeDelta::hours(1));
    assert_eq!(place.engine.store.create_run(&open).await.unwrap(), Creation::Created);
    let error = scheduler.round(&place.engine).await.unwrap_err();
    assert!(format!("{error:#}").contains("not on record"), "{error:#}");
    let closed = place.runs().await.iter().filter(|(run, _)| run.is_closed() && run.plan.is_some()).count();
    assert!(closed >= slots, "{closed} of {slots}");
}

#[tokio::test]
async fn the_book_is_read_again_only_where_it_changed() {
    let place = Place::new().await;
    let mut scheduler = place.scheduler().await;
    let _ = scheduler.read_book().await;
    let first = Arc::clone(&scheduler.book);
    let _ = scheduler.read_book().await;
    assert!(Arc::ptr_eq(&first, &scheduler.book));
    let positions = place.book().join("positions.csv");
    let text = std::fs::read_to_string(&positions).unwrap();
    std::fs::write(&positions, text + "\n").unwrap();
    let _ = scheduler.read_book().await;
    assert!(!Arc::ptr_eq(&first, &scheduler.book));
}

#[tokio::test]
async fn a_changed_schedule_holds_from_now_on_and_slots_that_were_due_before_keep_theirs() {
    let place = Place::new().await;
    let mut scheduler = place.scheduler().await;
    scheduler.round(&place.engine).await.unwrap();
    let slots = asleep(&mut scheduler, &place.engine);
    let old = scheduler.rules.schedule.clone();
    let settings = place.book().join("nightbook.toml");
    let text = "[schedule]\nname = \"early\"\ncron = \"5 0 * * *\"\ncalendar = \"every-day\"\n";
    std::fs::write(&settings, text).unwrap();
    // The first of the two looks that must see the same file; the round has the second.
    assert_eq!(scheduler.reload.look(Read::Changed), Outcome::Same);
    scheduler.round(&place.engine).await.unwrap();
    assert_eq!(scheduler.rules.schedule.name.as_str(), "early");
    let now = place.engine.ports.clock.now();
    assert!(
        next_due_slot(&scheduler.rules.schedule, scheduler.seen).is_some_and(|slot| slot > now - TimeDelta::minutes(1))
    );
    let runs = place.runs().await;
    assert!(runs.len() >= slots, "{runs:?}");
    assert!(runs.iter().all(|(run, _)| run.schedule == old.name), "no slot of the new one has come: {runs:?}");
}
