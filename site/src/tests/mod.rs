//! Tests over whole sites and over view models.

mod abandoned;
mod fake;
mod nights;
mod publishing;
mod redaction;
mod sample;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use domain::ids::{ContentHash, JobName, Owner, PortfolioId, RunId, ScheduleName};
use domain::night::NightKey;
use domain::ports::{Publisher as _, RunQuery, RunStore, SiteStore as _, WriteIf};
use domain::record::{JobError, JobRecord, Progress, Quality, SkippedBecause};
use domain::retry::RetryPolicy;
use domain::run::{PlannedPortfolio, Publication, Run, RunLevelWork, RunPhase, SealedPlan};
use domain::summary::summarise;
use domain::words::{ErrorCategory, JobStatus, QualityFlag};
use domain::work_item::{InHand, ItemKey, ItemState, Place, WorkItem};
use futures::executor::block_on;
use uuid::Uuid;

use crate::gather::{Nights, Reader};
use crate::mask::Mask;
use crate::options::{Card, Records, ScheduleView, SiteOptions};
use crate::pages;
use crate::publisher::{SiteParts, SitePublisher, Spread};
use crate::views;
use crate::views::commands::Commands;
use crate::views::index::IndexView;
use crate::views::run::RunInput;
use backends::memory::MemoryStore;
use fake::{At, Entry, MemorySite, put, slot};
use redaction::canaries;
use sample::Fate::{Fails, Good, Limited, Lost, Retried, Untouched, Working};
use sample::{Fate, entry, run_id};

/// The one address of others that the sample book names.
const RUNBOOK: &str = "https://wiki.example/runbook-4";

fn options(redacted: bool) -> SiteOptions {
    SiteOptions {
        title: "Night risk".into(),
        base_url: None,
        redacted,
        schedule: Some(ScheduleView {
            name: "nightly".into(),
            series: String::new(),
            cron: "30 18 * * 1-5".into(),
            timezone: "America/New_York".into(),
            next_due: vec![slot(25), slot(26)],
            grace_seconds: 900,
        }),
        redaction_key: "k".into(),
        replaces_redacted: true,
        withheld: None,
        cards: BTreeMap::from([(
            sample::id_of(4),
            Card {
                currency: "CHF".into(),
                owner: Some("Grace Owner".into()),
                tags: vec!["equity-desk".into()],
                runbook_url: Some(RUNBOOK.into()),
            },
        )]),
        mutes: Vec::new(),
        portfolio_badges: false,
        settings_warning: None,
        last_allowed: None,
        book: Some("/srv/book".into()),
        records: Records::Folder("/srv/data".into()),
        retention_note: "Records are kept for 400 days, full results for 30, summaries for ever.".into(),
    }
}

fn store(entries: Vec<Entry>) -> Arc<MemoryStore> {
    let store = MemoryStore::default();
    entries.into_iter().for_each(|entry| put(&store, entry));
    Arc::new(store)
}

fn mask() -> Mask {
    Mask { redacted: false, key: "".into() }
}

fn now() -> DateTime<Utc> {
    slot(24) + TimeDelta::minutes(5)
}

fn publisher(store: &Arc<MemoryStore>, site: &Arc<MemorySite>, redacted: bool) -> SitePublisher {
    spreading(store, site, redacted, Spread::Never)
}

fn parts(store: &Arc<MemoryStore>, site: &Arc<MemorySite>, spread: Spread) -> SiteParts {
    SiteParts {
        store: Arc::<MemoryStore>::clone(store),
        alerts: Arc::<MemoryStore>::clone(store),
        notes: Arc::<MemoryStore>::clone(store),
        site: Arc::<MemorySite>::clone(site),
        clock: Arc::new(At(now())),
        spread,
    }
}

fn spreading(store: &Arc<MemoryStore>, site: &Arc<MemorySite>, redacted: bool, spread: Spread) -> SitePublisher {
    SitePublisher::new(parts(store, site, spread), options(redacted))
}

fn rebuilt(entries: Vec<Entry>, redacted: bool) -> BTreeMap<String, String> {
    let site = Arc::new(MemorySite::default());
    block_on(publisher(&store(entries), &site, redacted).rebuild()).unwrap();
    texts(&site)
}

fn texts(site: &MemorySite) -> BTreeMap<String, String> {
    let files = site.files();
    files.into_iter().map(|(path, body)| (path, String::from_utf8(body).unwrap())).collect()
}

/// Ten nights of 30 portfolios, the last with one cause in many.
fn nights() -> Vec<Entry> {
    let mut all: Vec<Entry> = (0..8u128)
        .map(|n| {
            let day = [12, 13, 16, 17, 18, 19, 20, 23][n as usize];
            let mut fates = [Good; 30];
            fates[3] = if n % 3 == 0 { Fails } else { Retried };
            fates[7] = Limited;
            entry(n + 1, day, &fates)
        })
        .collect();
    let mut fates = vec![Good; 30];
    fates[4..10].fill(Fails);
    (fates[12], fates[13], fates[14], fates[20]) = (Retried, Limited, Lost, Untouched);
    all.push(entry(20, 24, &fates));
    all
}

fn index_of(entries: Vec<Entry>) -> IndexView {
    index_by(entries, &options(false))
}

/// The index of a store with these runs, by these options.
fn index_by(entries: Vec<Entry>, options: &SiteOptions) -> IndexView {
    let (store, site) = (store(entries), Arc::new(MemorySite::default()));
    let publisher = SitePublisher::new(parts(&store, &site, Spread::Never), options.clone());
    block_on(publisher.index_view()).unwrap().0
}

#[test]
fn view_models_of_the_index() {
    let few = |fates: &[Fate]| index_of(vec![entry(1, 24, fates)]);
    insta::assert_json_snapshot!("index_empty", index_of(Vec::new()));
    insta::assert_json_snapshot!("index_all_good", few(&[Good, Retried]));
    insta::assert_json_snapshot!("index_one_failure", few(&[Good, Good, Fails]));
    insta::assert_json_snapshot!("index_one_cause_in_many", few(&[Fails, Fails, Fails, Good]));
    insta::assert_json_snapshot!("index_running", few(&[Good, Working, Untouched]));
    insta::assert_json_snapshot!("index_missing", few(&[Good, Lost, Untouched]));
    insta::assert_json_snapshot!("index_poor_quality", few(&[Limited, Limited, Limited, Good]));
    insta::assert_json_snapshot!("index_missed", index_of(vec![entry(1, 23, &[Good]), missed(2, 24)]));
}

/// A slot that passed without a run.
fn missed(n: u128, day: u32) -> Entry {
    let mut slot = entry(n, day, &[]);
    slot.run.phase = RunPhase::Missed;
    slot.run.plan = None;
    slot.run.trigger = "schedule".into();
    slot.run.closed_at = Some(slot.run.started_at);
    slot.planned.clear();
    slot.summary = None;
    slot
}

#[test]
fn a_slot_without_a_run_says_what_to_do_until_another_run_makes_up_for_it() {
    let night = |entries| index_of(entries).night.unwrap();
    let view = night(vec![entry(1, 23, &[Good]), missed(2, 24)]);
    assert_eq!((view.verdict, view.portfolios.as_str()), ("missed", "No run took place for 2026-11-24."));
    assert_eq!(view.command.as_deref(), Some("nightbook run --book /srv/book --data /srv/data --as-of 2026-11-24"));
    for by_hand in [1, 3] {
        let mut run = entry(by_hand, 24, &[Good, Fails]);
        run.run.started_at += TimeDelta::seconds(if by_hand == 1 { -60 } else { 60 });
        let view = index_of(vec![missed(2, 24), run]);
        assert_eq!(view.night.map(|night| night.verdict), Some("partial"), "by hand as {by_hand}");
        assert_eq!(view.strip.bars.last().map(|bar| bar.class), Some("part"), "{:?}", view.strip.bars.last());
    }
}

#[test]
fn a_run_by_hand_before_its_slot_leaves_the_next_night_due() {
    let due = |entries| index_of(entries).due.map(|stamp| stamp.machine);
    let text = |day| Some(views::Stamp::of(slot(day)).machine);
    assert_eq!(due(vec![entry(1, 24, &[Good])]), text(25));
    assert_eq!(due(vec![entry(1, 24, &[Good]), entry(2, 25, &[Good])]), text(26));
    let mut some = entry(2, 25, &[Good]);
    some.run.filter = vec![sample::id_of(0)];
    assert_eq!(due(vec![entry(1, 24, &[Good]), some]), text(25), "a run of one portfolio is not the night");
    let mut before = entry(2, 25, &[Good]);
    before.run.trigger = "cli".into();
    before.run.started_at -= TimeDelta::hours(1);
    assert_eq!(due(vec![before.clone()]), text(25), "the slot has its own run");
    before.run.started_at += TimeDelta::hours(2);
    assert_eq!(due(vec![before]), text(26), "a run by hand after the slot is the run of the slot");
}

#[test]
fn view_models_of_a_run_and_a_portfolio() {
    let store = store(vec![entry(1, 23, &[Good, Good]), entry(2, 24, &[Good, Fails, Lost])]);
    let reader = Reader::new(Arc::clone(&store) as Arc<dyn RunStore>, mask(), Arc::default());
    let data = block_on(reader.run(run_id(2))).unwrap();
    let facts = block_on(reader.facts(&[run_id(2)])).unwrap();
    let past = block_on(reader.past(&data.head)).unwrap();
    let commands = &Commands::of(&options(false));
    let input = RunInput { data: &data, others: &facts, past: &past, cards: &BTreeMap::new(), notes: &[], commands };
    insta::assert_json_snapshot!("run", views::run::build(&input));
    let key = NightKey { series: ScheduleName::new("nightly").unwrap(), as_of: fake::date(24) };
    let night = block_on(reader.night(&key)).unwrap();
    let portfolio = block_on(reader.portfolio(&sample::id_of(1), Some(&data), night)).unwrap();
    insta::assert_json_snapshot!("portfolio", views::portfolio::build(&portfolio, commands));
}

#[test]
fn a_rerun_replaces_only_its_own_cells() {
    let first = entry(1, 24, &[Good, Fails]);
    let mut second = entry(2, 24, &[Good, Good]);
    second.run.rerun_of = Some(run_id(1));
    second.run.filter = vec![sample::id_of(1)];
    second.items.remove(0);
    second.planned.remove(0);
    second.run.plan.as_mut().unwrap().portfolios = 1;
    second.summary = Some(summarise(&second.run, &second.items, &BTreeMap::new()));
    let view = index_of(vec![first, second]);
    assert_eq!((view.grid.rows.len(), view.grid.problems), (2, 0));
    let night = view.night.unwrap();
    assert_eq!((night.verdict, night.portfolios.as_str()), ("ok", "All 9 jobs succeeded for all 2 portfolios."));
}

/// Every link, from the folder of the page, and the anchors of every page.
fn dead_links(files: &BTreeMap<String, String>) -> Vec<String> {
    let attribute = |text: &str, name: &str| -> Vec<String> {
        let pattern = format!(" {name}=\"");
        text.split(&pattern).skip(1).filter_map(|rest| rest.split('"').next()).map(str::to_owned).collect()
    };
    let anchors: BTreeMap<&String, BTreeSet<String>> =
        files.iter().map(|(path, text)| (path, attribute(text, "id").into_iter().collect())).collect();
    let mut dead = Vec::new();
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".html") && *path != "404.html") {
        for link in attribute(text, "href").iter().filter(|link| !link.starts_with("data:") && *link != RUNBOOK) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let mut parts: Vec<&str> = path.split('/').collect();
            parts.pop();
            for part in file.split('/').filter(|part| !part.is_empty()) {
                match part {
                    ".." => parts.truncate(parts.len().saturating_sub(1)),
                    part => parts.push(part),
                }
            }
            let target = if file.is_empty() { path.clone() } else { parts.join("/") };
            match anchors.get(&target) {
                None => dead.push(format!("{path}: {link}")),
                Some(ids) if !anchor.is_empty() && !ids.contains(anchor) => {
                    dead.push(format!("{path}: {link} (anchor)"))
                }
                Some(_) => {}
            }
        }
    }
    dead
}

#[test]
fn a_site_has_no_dead_links_and_asks_nobody_else() {
    for redacted in [false, true] {
        let files = rebuilt(nights(), redacted);
        assert_eq!(dead_links(&files), Vec::<String>::new());
        for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".html")) {
            let text = text.replace("http://www.w3.org/2000/svg", "").replace(RUNBOOK, "");
            assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("href=\"//"), "{path}");
            assert!(!text.contains("<script>alert"), "{path}");
            assert!(!text.contains('\u{202E}'), "{path}");
            assert!(!text.contains(" style="), "{path}: the policy forbids style attributes");
        }
    }
}

#[test]
fn the_policy_names_what_the_page_carries() {
    for (path, text) in rebuilt(nights(), false).iter().filter(|(path, _)| path.ends_with(".html")) {
        for (tag, directive) in [("style", "style-src"), ("script", "script-src")] {
            let inner = text.split_once(&format!("<{tag}>")).unwrap().1.split_once(&format!("</{tag}>")).unwrap().0;
            let hash = crate::assets::source_hash(inner);
            assert!(text.contains(&format!("{directive} '{hash}'")), "{path}: {tag}");
        }
    }
}

#[test]
fn totals_add_up_wherever_they_stand() {
    for night in nights() {
        let summary = night.summary.clone().unwrap();
        assert_eq!(summary.counts().total(), summary.total_jobs);
        let view = index_of(vec![night]);
        let cells: Vec<_> = view.grid.rows.iter().flat_map(|row| &row.cells).collect();
        let of = |status| cells.iter().filter(|cell| cell.status == status).count() as u64;
        assert_eq!(cells.len() as u64, summary.total_jobs);
        assert_eq!(of(JobStatus::Success), summary.successful_jobs);
        assert_eq!(of(JobStatus::Failed), summary.failed_jobs);
        assert_eq!(of(JobStatus::Skipped), summary.skipped_jobs);
        assert_eq!(of(JobStatus::Missing), summary.missing_jobs);
    }
}

#[test]
fn the_files_for_machines_are_as_their_schemas_say() {
    let files = rebuilt(canaries(nights()), false);
    let schema = |name: &str| {
        let text = serde_json::from_str(&files[&format!("schemas/{name}.v1.json")]).unwrap();
        jsonschema::validator_for(&text).unwrap()
    };
    let (mut seen, schemas) = (
        BTreeSet::new(),
        ["status", "summary", "jobs", "portfolio", "months", "night"].map(|name| (name, schema(name))),
    );
    for (path, text) in files.iter().filter(|(path, _)| path.ends_with(".json") && !path.starts_with("schemas/")) {
        let name = match path.split('/').collect::<Vec<_>>()[..] {
            ["status.json"] => "status",
            ["runs", _, "summary.json"] => "summary",
            ["runs", _, "jobs.json"] => "jobs",
            ["portfolios", _] => "portfolio",
            ["history", "months.json"] => "months",
            _ => continue,
        };
        seen.insert(name);
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let (_, schema) = schemas.iter().find(|(of, _)| *of == name).unwrap();
        let wrong: Vec<String> =
            schema.iter_errors(&value).map(|e| format!("{path}{}: {e}", e.instance_path)).collect();
        assert_eq!(wrong, Vec::<String>::new());
        assert_eq!(value["schema"], 1, "{path}");
    }
    assert_eq!(seen.len(), 5);
    let status: serde_json::Value = serde_json::from_str(&files["status.json"]).unwrap();
    let wrong: Vec<String> = schemas[5].1.iter_errors(&status["night"]).map(|error| error.to_string()).collect();
    assert_eq!(wrong, Vec::<String>::new());
}

fn gzipped(text: &str) -> usize {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, text.as_bytes()).unwrap();
    encoder.finish().unwrap().len()
}

#[test]
fn pages_are_light() {
    let both = format!("{}{}", *crate::assets::STYLE, *crate::assets::SCRIPT);
    assert!(gzipped(&both) <= 6 * 1024, "style and script together: {}", gzipped(&both));
    for (portfolios, most) in [(100, 15 * 1024), (1_000, 60 * 1024)] {
        let fates: Vec<Fate> = (0..portfolios).map(|n| if n % 9 == 7 { Fails } else { Good }).collect();
        let mut entries = nights();
        entries.pop();
        entries.push(entry(20, 24, &fates));
        let files = rebuilt(entries, false);
        let weight = gzipped(&files["index.html"]);
        assert!(weight <= most, "the index of {portfolios} portfolios: {weight}");
        assert_eq!(dead_links(&files), Vec::<String>::new());
    }
}

#[test]
fn an_incident_keeps_its_id_and_is_updated_on_recovery() {
    let night = |n: u128, day, fate| entry(n, day, &[Good, fate]);
    let feed = |entries: Vec<Entry>| {
        let reader = Reader::new(store(entries), mask(), Arc::default());
        block_on(async {
            let runs = reader.heads(&RunQuery::default(), 90).await.unwrap();
            let series = ScheduleName::new("nightly").unwrap();
            let heads = reader.nights(&series, Nights::default(), &runs).await.unwrap();
            views::feed::feed(&reader.days(&heads, &runs).await.unwrap(), &options(false), false)
        })
    };
    let mut entries = vec![night(1, 18, Good), night(2, 19, Fails), night(3, 20, Fails)];
    let open = feed(entries.clone());
    entries.push(night(4, 23, Good));
    let over = feed(entries);
    let incident = |view: &views::feed::FeedView| {
        let mut found = view.entries.iter().filter(|entry| entry.category == "incident");
        let one = found.next().unwrap().clone();
        assert!(found.next().is_none(), "one stretch is one incident");
        one
    };
    let (before, after) = (incident(&open), incident(&over));
    assert_eq!((&before.id, &before.published), (&after.id, &after.published));
    assert!(before.updated < after.updated && after.title.starts_with("Recovered"), "{}", after.title);
    assert_eq!(over.updated, after.updated);
}

#[test]
fn a_run_under_way_is_shown_with_what_is_in_hand() {
    let site = Arc::new(MemorySite::default());
    let mut entries = nights();
    entries.pop();
    let store = store(entries);
    block_on(publisher(&store, &site, false).rebuild()).unwrap();
    put(&store, entry(21, 24, &[Good, Working, Untouched]));
    block_on(publisher(&store, &site, false).refresh_index()).unwrap();
    let files = texts(&site);
    assert!(files["index.html"].contains("<td>position 15/75 AAPL</td>"));
    assert!(files["index.html"].contains("silent"));
    assert_eq!(dead_links(&files), Vec::<String>::new());
}

/// Writes sample sites to look at: `cargo test -p site -- --ignored sample`.
#[test]
#[ignore = "writes to the temporary folder, to be looked at"]
fn sample_site() {
    let root = std::env::temp_dir().join("site-sample");
    let mut running = nights();
    running.pop();
    running.push(entry(21, 24, &[Good, Working, Working, Untouched]));
    let wide = vec![entry(1, 24, &(0..1000).map(|n| if n % 90 == 7 { Fails } else { Good }).collect::<Vec<_>>())];
    for (name, entries) in [("some", nights()), ("running", running), ("empty", Vec::new()), ("wide", wide)] {
        let begin = std::time::Instant::now();
        let files = rebuilt(entries, false);
        println!("{name}: {} files in {:?}", files.len(), begin.elapsed());
        for (path, text) in files {
            let path = root.join(name).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }
}

#[test]
fn notes_stand_on_the_page_of_their_run_and_are_text() {
    let store = store(vec![entry(1, 24, &[Good, Fails])]);
    let note = |n: u128, kind, text: &str| domain::note::Note {
        id: uuid::Uuid::from_u128(n),
        batch_run_id: run_id(1),
        kind,
        author: "Zoë <script>alert(1)</script>".into(),
        at: now() + TimeDelta::seconds(n as i64),
        text: text.into(),
    };
    for note in [
        note(1, domain::note::NoteKind::Acknowledge, ""),
        note(2, domain::note::NoteKind::Annotate, "the vendor was late\n<img src=x onerror=alert(1)>"),
    ] {
        block_on(domain::note::RunNotes::add_note(store.as_ref(), &note)).unwrap();
    }
    let page_of = |redacted| {
        let site = Arc::new(MemorySite::default());
        block_on(publisher(&store, &site, redacted).rebuild()).unwrap();
        texts(&site)[&format!("runs/{}/index.html", run_id(1))].clone()
    };
    let page = page_of(false);
    assert!(page.contains("acknowledged this run"), "{page}");
    assert!(page.contains("<p>the vendor was late</p>"), "{page}");
    assert!(page.contains("&#60;img src=x onerror=alert(1)&#62;"), "{page}");
    assert!(!page.contains("<script>alert(1)") && !page.contains("<img src=x"), "a note is text, not markup");
    let redacted = page_of(true);
    assert!(!redacted.contains("vendor") && !redacted.contains("Zo"), "a text may name what is not to be shown");
}
