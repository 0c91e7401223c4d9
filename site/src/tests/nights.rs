//! Nights as the site shows them: what the newest run says alone would be wrong in each of these.

use chrono::NaiveDate;
use domain::night::members::{Member, NightMembers, SealedNight};
use domain::night::stored::night_run;
use domain::night::{Acceptance, Control, ControlResult, ControlValue, HeadFacts, Level, Night, NightBasis, NightHead};
use domain::ports::Nights as _;

use super::fake::date;
use super::*;

/// A store with a site of its own, published run by run.
struct Place {
    store: Arc<MemoryStore>,
    site: Arc<MemorySite>,
    options: SiteOptions,
}

fn member(at: usize) -> (PortfolioId, Member) {
    (sample::id_of(at), Member { rows: 16, ..Member::default() })
}

/// What a plan seals: so many open portfolios.
fn open(portfolios: usize) -> NightMembers {
    NightMembers { open: (0..portfolios).map(member).collect(), ..NightMembers::default() }
}

fn key(day: u32) -> NightKey {
    NightKey { series: ScheduleName::new("nightly").unwrap(), as_of: date(day) }
}

fn result(control: Control, level: Level, at: Option<usize>, message: &str) -> ControlResult {
    ControlResult {
        control,
        level,
        portfolio_id: at.map(sample::id_of),
        symbol: at.map(|_| "CANARY-symbol".to_owned()),
        observed: Some(ControlValue::Number(0.123_456_789)),
        limit: Some(ControlValue::Text("CANARY-limit".to_owned())),
        message: message.to_owned(),
    }
}

impl Place {
    fn new(redacted: bool) -> Self {
        Self { store: store(Vec::new()), site: Arc::new(MemorySite::default()), options: options(redacted) }
    }

    fn publisher(&self) -> SitePublisher {
        SitePublisher::new(parts(&self.store, &self.site, Spread::Never), self.options.clone())
    }

    /// Records and publishes a run whose plan sealed this.
    fn run(&self, mut entry: Entry, members: &NightMembers, newest_close: Option<NaiveDate>) -> &Self {
        let document = serde_json::to_vec(members).unwrap();
        let document = block_on(self.store.put_night_document(document)).unwrap();
        entry.run.plan.as_mut().unwrap().night = Some(SealedNight {
            members: document,
            inputs: ContentHash::of(b"inputs"),
            newest_close,
            nightbook_version: "1.0.0".into(),
            restatement_tolerance: 1e-9,
        });
        entry.run.pages = domain::run::PagesThere::Nothing;
        entry.run.publication = Publication::Pending;
        let id = entry.run.batch_run_id;
        put(&self.store, entry);
        block_on(self.publisher().publish(id)).unwrap();
        self
    }

    /// Stores the head of a night with these acceptances, as `accept` does, and publishes its newest run.
    fn accept(&self, day: u32, members: &NightMembers, acceptance: Acceptance) -> &Self {
        let query = RunQuery { as_of: Some(date(day)), ..RunQuery::default() };
        let stored = block_on(domain::ports::Runs::runs(&*self.store, &query)).unwrap().runs.remove(0);
        let items = block_on(domain::expected_items::all_expected_items(&*self.store, &stored.run)).unwrap();
        let run = night_run(&stored, &items, Some(members));
        let acceptances = vec![acceptance];
        let night = Night::of(&key(day).series, date(day), &[run], &acceptances).unwrap();
        let document = block_on(self.store.put_night_document(serde_json::to_vec(&night).unwrap())).unwrap();
        let facts = HeadFacts {
            version: 0,
            schedule: key(day).series,
            full_run: Some(stored.run.batch_run_id),
            acceptances,
            basis: NightBasis::Plans,
            document,
            folded_at: now(),
        };
        assert!(block_on(self.store.put_night(&NightHead::of(&night, facts))).unwrap());
        block_on(self.publisher().publish(stored.run.batch_run_id)).unwrap();
        self
    }

    fn files(&self) -> BTreeMap<String, String> {
        let files = texts(&self.site);
        assert_eq!(dead_links(&files), Vec::<String>::new());
        files
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_str(&self.files()["status.json"]).unwrap()
    }

    /// Asserts that every surface says this of the newest night.
    fn says(&self, verdict: &str, as_of: &str) -> &Self {
        let files = self.files();
        let status = self.status();
        let told = (&status["night"]["verdict"], &status["night"]["as_of"], &status["as_of"]);
        assert_eq!(told, (&verdict.into(), &as_of.into(), &as_of.into()));
        let old = if ["ok", "warning"].contains(&verdict) { "success" } else { verdict };
        assert_eq!(status["status"], old);
        assert_eq!(status["verdict"], status["night"]["headline"]);
        assert!(files["index.html"].contains(&format!("<body data-verdict=\"{verdict}\"")));
        let badge: serde_json::Value = serde_json::from_str(&files["badge.json"]).unwrap();
        assert_eq!(badge["message"], format!("{verdict} {as_of}"));
        assert!(files["badge.svg"].contains(&format!("{verdict} {as_of}")));
        if let Some(page) = files.get(&format!("nights/{as_of}/index.html")) {
            assert!(page.contains(&format!("<body data-verdict=\"{verdict}\"")), "{page}");
        }
        let counts = &status["counts"];
        let sum: u64 =
            ["success", "failed", "skipped", "missing"].iter().map(|key| counts[key].as_u64().unwrap()).sum();
        assert_eq!(sum, status["total_jobs"].as_u64().unwrap());
        self
    }

    fn headline(&self) -> String {
        self.status()["verdict"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_good_filtered_run_does_not_make_a_night_good() {
    let place = Place::new(false);
    place.run(entry(1, 24, &[Good, Fails, Fails, Good]), &open(4), Some(date(24)));
    place.says("partial", "2026-11-24");
    let before = place.headline();
    let mut good = entry(2, 24, &[Good]);
    good.run.filter = vec![sample::id_of(0)];
    good.run.trigger = "cli".into();
    place.run(good, &open(4), Some(date(24)));
    place.says("partial", "2026-11-24");
    assert_eq!(place.headline(), before);
    let view = block_on(place.publisher().index_view()).unwrap().0;
    assert_eq!((view.grid.rows.len(), view.grid.problems), (4, 2));
    assert_eq!(view.strip.bars.last().map(|bar| bar.verdict.as_str()), Some("partial"));
    insta::assert_json_snapshot!("night_after_a_good_filtered_run", view.night);
    assert!(place.files()["feed.xml"].contains("2026-11-24: partial, 2 of 4 portfolios succeeded"));
}

#[test]
fn a_green_night_says_so_and_nothing_else() {
    let place = Place::new(false);
    place.run(entry(1, 24, &[Good, Retried]), &open(2), Some(date(24)));
    place.says("ok", "2026-11-24");
    let view = block_on(place.publisher().index_view()).unwrap().0.night.unwrap();
    assert_eq!(
        (view.headline.as_str(), view.step, view.stale),
        ("All 9 jobs succeeded for all 2 portfolios.", None, false)
    );
    assert_eq!(view.data_through.as_deref(), Some("2026-11-24"));
}

#[test]
fn an_absent_portfolio_is_named_and_its_own_page_says_so() {
    let place = Place::new(false);
    place.run(entry(1, 23, &[Good, Good, Good]), &open(3), Some(date(23)));
    let tonight = NightMembers { expected_before: (0..3).map(sample::id_of).collect(), ..open(2) };
    place.run(entry(2, 24, &[Good, Good]), &tonight, Some(date(24)));
    place.says("partial", "2026-11-24");
    let files = place.files();
    assert!(place.headline().starts_with("1 of 3 portfolios is absent."), "{}", place.headline());
    assert!(
        files["index.html"]
            .contains("<a href=\"portfolios/fund-002/index.html\">fund-002</a> <b class=\"tag\">absent</b>")
    );
    let page = &files["portfolios/fund-002/index.html"];
    assert!(page.contains("<span class=\"word\">absent</span> on the night of 2026-11-24"), "{page}");
    assert!(!files["portfolios/fund-001/index.html"].contains("absent"));
}

#[test]
fn a_stale_night_names_the_date_through_which_the_data_reaches() {
    let place = Place::new(false);
    let message = "The newest close is of 2026-11-19; expected 2026-11-24.";
    let controls = vec![result(Control::NewestClose, Level::Failure, None, message)];
    place.run(entry(1, 24, &[Good]), &NightMembers { controls, ..open(1) }, Some(date(19)));
    place.says("partial", "2026-11-24");
    assert_eq!(place.status()["night"]["newest_close"], "2026-11-19");
    let files = place.files();
    for path in ["index.html", "nights/2026-11-24/index.html", "portfolios/fund-000/index.html", "quality/index.html"] {
        assert!(files[path].to_lowercase().contains("data through"), "{path}");
        assert!(files[path].contains("2026-11-19"), "{path}");
    }
    assert!(files["quality/index.html"].contains("newest_close") && files["index.html"].contains(message));
}

#[test]
fn an_accepted_control_is_marked_with_author_and_note_and_counts_no_more() {
    let place = Place::new(false);
    let controls = vec![
        result(Control::PriceJump, Level::Warning, Some(0), "AAA fell 75 %: a split of 4:1?"),
        result(Control::Positions, Level::Failure, Some(1), "3 of 16 rows are left."),
    ];
    let members = NightMembers { controls, ..open(2) };
    place.run(entry(1, 24, &[Good, Good]), &members, Some(date(24)));
    place.says("partial", "2026-11-24");
    let acceptance = Acceptance {
        control: Control::Positions,
        portfolio: None,
        author: "Zoë <script>alert(1)</script>".into(),
        note: "sold on purpose".into(),
        at: now() + TimeDelta::hours(1),
    };
    place.accept(24, &members, acceptance);
    place.says("warning", "2026-11-24");
    let files = place.files();
    for path in ["index.html", "nights/2026-11-24/index.html", "history/index.html", "history/2026-11.html"] {
        assert!(files[path].contains("sold on purpose"), "{path}");
        assert!(!files[path].contains("<script>alert"), "{path}");
    }
    insta::assert_json_snapshot!("night_accepted", block_on(place.publisher().index_view()).unwrap().0.night);
    let page = &files["portfolios/fund-000/index.html"];
    assert!(page.contains("a split of 4:1?") && !page.contains("rows are left"), "{page}");
}

#[test]
fn missed_nights_are_counted_and_one_command_runs_them() {
    let place = Place::new(false);
    place.run(entry(1, 18, &[Good]), &open(1), Some(date(18)));
    for (n, day) in [(2, 19), (3, 20), (4, 23)] {
        put(&place.store, missed(n, day));
    }
    block_on(place.publisher().refresh_index()).unwrap();
    place.says("missed", "2026-11-23");
    let command = "nightbook run --book /srv/book --data /srv/data --from 2026-11-19 --to 2026-11-23";
    assert_eq!(place.status()["night"]["next_step"]["command"], command);
    assert!(place.headline().starts_with("No run took place for 3 trading dates"), "{}", place.headline());
    assert!(place.files()["feed.xml"].contains("Not well since 2026-11-19"));
    place.run(entry(5, 24, &[Good]), &open(1), Some(date(24)));
    place.says("ok", "2026-11-24");
    let files = place.files();
    for path in ["index.html", "nights/2026-11-24/index.html"] {
        assert!(files[path].contains("3 missed nights") && files[path].contains(command), "{path}");
    }
}

#[test]
fn a_run_of_2036_is_on_record_and_decides_nothing() {
    let mut place = Place::new(false);
    let mut far = entry(9, 24, &[Good]);
    let years = TimeDelta::days(3_652);
    let summary = far.summary.as_mut().unwrap();
    (far.run.as_of, far.run.scheduled_for) = (far.run.as_of + years, far.run.scheduled_for + years);
    (summary.as_of, summary.scheduled_for) = (far.run.as_of, far.run.scheduled_for);
    place.run(far, &open(1), Some(date(24)));
    place.says("ok", "2036-11-23");
    place.options.last_allowed = Some(date(24));
    place.run(entry(1, 23, &[Good, Fails]), &open(2), Some(date(23)));
    place.says("partial", "2026-11-23");
    assert_eq!(place.status()["due_at"], "2026-11-25T23:30:00Z");
    place.run(entry(2, 24, &[Good, Good]), &open(2), Some(date(24)));
    place.says("ok", "2026-11-24");
    let files = place.files();
    assert!(files["history/index.html"].contains("later than may be run"), "{}", files["history/index.html"]);
    assert_eq!(block_on(place.publisher().index_view()).unwrap().0.strip.bars.len(), 2);
}

#[test]
fn the_page_of_a_night_says_how_long_a_cause_lasts() {
    let place = Place::new(false);
    let nights = [(18, Fails), (19, Good), (20, Good), (23, Fails), (24, Fails)];
    for (n, (day, fate)) in (1..).zip(nights) {
        place.run(entry(n, day, &[Good, fate]), &open(2), Some(date(day)));
    }
    let files = place.files();
    let says = |day: u32, text: &str| {
        let page = &files[&format!("nights/2026-11-{day}/index.html")];
        assert!(page.contains(text), "{day}: {page}");
    };
    says(18, "<b class=\"new\">new</b>");
    says(23, "back after 2 good nights");
    says(24, "since 2026-11-23 (2 nights), back after 2 good nights");
}

#[test]
fn a_night_of_another_series_has_a_folder_of_its_own() {
    let mut place = Place::new(false);
    place.options.schedule.as_mut().unwrap().name = "evening".into();
    let mut run = entry(1, 24, &[Good]);
    run.run.schedule = ScheduleName::new("evening").unwrap();
    run.run.night_series = Some(ScheduleName::new("evening").unwrap());
    place.run(run, &open(1), Some(date(24)));
    place.says("ok", "2026-11-24");
    assert!(place.files()["nights/evening/2026-11-24/index.html"].contains("<body data-verdict=\"ok\""));
}

#[test]
fn a_redacted_night_names_nobody_and_no_figure() {
    let place = Place::new(true);
    let controls = vec![
        result(Control::Positions, Level::Failure, Some(1), "CANARY-message fund-001"),
        result(Control::NewestClose, Level::Warning, None, "CANARY-close"),
    ];
    let members = NightMembers { controls, expected_before: (0..4).map(sample::id_of).collect(), ..open(3) };
    place.run(entry(1, 23, &[Good, Good, Good, Good]), &open(4), Some(date(23)));
    place.run(entry(2, 24, &[Good, Good, Fails]), &members, Some(date(24)));
    let acceptance = Acceptance {
        control: Control::Positions,
        portfolio: Some(sample::id_of(1)),
        author: "CANARY-author".into(),
        note: "CANARY-note".into(),
        at: now() + TimeDelta::hours(1),
    };
    place.accept(24, &members, acceptance);
    place.says("partial", "2026-11-24");
    let secrets = ["CANARY", "fund-0", "/srv/", "0.1235", "0.123456"];
    for (path, text) in place.files() {
        for secret in secrets {
            assert!(!text.contains(secret) && !path.contains(secret), "{path} tells {secret}");
        }
    }
}
