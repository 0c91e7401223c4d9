//! Publications: in which order, after which faults, and that they give the site of a rebuild.

use super::*;

#[test]
fn published_run_by_run_it_is_the_site_that_a_rebuild_makes_and_never_has_a_dead_link() {
    let site = Arc::new(MemorySite::default());
    let store = store(Vec::new());
    for night in nights() {
        let id = night.run.batch_run_id;
        let mut pending = night.clone();
        pending.run.publication = Publication::Pending;
        pending.run.pages = domain::run::PagesThere::Nothing;
        put(&store, pending);
        block_on(publisher(&store, &site, false).publish(id)).unwrap();
        put(&store, night);
        let log = std::mem::take(&mut *site.log.lock().unwrap());
        assert_eq!(log.last().map(String::as_str), Some("flush"), "the index is durable too");
        let end = log.iter().rev().skip_while(|path| *path == "flush");
        assert_eq!(end.take(3).collect::<Vec<_>>(), ["index.html", "flush", "status.json"]);
        assert_eq!(dead_links(&texts(&site)), Vec::<String>::new());
    }
    let rebuilt = rebuilt(nights(), false);
    let grown = texts(&site);
    for (path, text) in &rebuilt {
        // Pages of old runs and months keep what they said when they were written.
        assert!(grown.get(path) == Some(text), "{path} differs");
    }
    block_on(publisher(&store, &site, false).publish(run_id(20))).unwrap();
    assert!(site.log.lock().unwrap().iter().all(|path| path == "flush"), "nothing changed, nothing is written");
}

#[test]
fn spread_over_buckets_it_is_the_same_site_and_never_has_a_dead_link() {
    let site = Arc::new(MemorySite::default());
    let store = store(Vec::new());
    let no_dead_link = || {
        // Nobody comes by what no index leads to.
        let there = texts(&site);
        assert!(!there.contains_key("index.html") || dead_links(&there).is_empty(), "{:?}", dead_links(&there));
    };
    for night in nights() {
        let id = night.run.batch_run_id;
        let mut pending = night.clone();
        pending.run.publication = Publication::Pending;
        pending.run.pages = domain::run::PagesThere::Nothing;
        put(&store, pending.clone());
        let publisher = || spreading(&store, &site, false, Spread::From(1));
        assert_eq!(publisher().spreads(&night.run), night.run.plan.as_ref().is_some_and(|plan| plan.portfolios > 0));
        block_on(publisher().begin(id)).unwrap();
        no_dead_link();
        // The last bucket first, and one of them twice.
        for bucket in (0..night.run.plan.as_ref().map_or(0, SealedPlan::buckets)).rev().chain([0]) {
            block_on(publisher().publish_bucket(id, bucket)).unwrap();
            no_dead_link();
            let log = std::mem::take(&mut *site.log.lock().unwrap());
            assert!(!log.contains(&"index.html".to_owned()), "only the last step writes the index");
        }
        block_on(publisher().finish(id)).unwrap();
        no_dead_link();
        let log = std::mem::take(&mut *site.log.lock().unwrap());
        let last = log.iter().rev().find(|path| *path != "flush");
        assert_eq!(last.map(String::as_str), Some("index.html"));
        assert!(!log.iter().any(|path| path.starts_with("portfolios/")), "they have their pages: {log:?}");
        put(&store, night);
    }
    let grown = texts(&site);
    for (path, text) in &rebuilt(nights(), false) {
        assert!(grown.get(path) == Some(text), "{path} differs");
    }
}

#[test]
fn a_site_that_was_lost_is_written_whole_before_an_index_leads_to_it() {
    let site = Arc::new(MemorySite::default());
    let store = store(nights());
    let published = nights().swap_remove(7);
    let mut pending = published.clone();
    pending.run.publication = Publication::Pending;
    put(&store, pending);
    assert_eq!(block_on(publisher(&store, &site, false).refresh_index()).unwrap(), 0, "nothing is there to lead to");
    // Whoever began died after the first files.
    let schema = crate::pages::schemas().next().unwrap();
    block_on(site.write(&schema, &WriteIf::Always)).unwrap();
    assert_eq!(block_on(publisher(&store, &site, false).refresh_index()).unwrap(), 0);
    let newest = nights().last().unwrap().run.batch_run_id;
    block_on(spreading(&store, &site, false, Spread::From(1)).begin(newest)).unwrap();
    let (grown, whole) = (texts(&site), rebuilt(nights(), false));
    assert_eq!(grown.keys().collect::<Vec<_>>(), whole.keys().collect::<Vec<_>>());
    assert_eq!(dead_links(&grown), Vec::<String>::new());

    // Where every run is published, nobody else would write the pages.
    put(&store, published);
    let site = Arc::new(MemorySite::default());
    assert!(block_on(publisher(&store, &site, false).refresh_index()).unwrap() > 0);
    assert_eq!(texts(&site), whole);
}

#[test]
fn a_new_month_is_led_to_from_those_beside_it_and_all_are_listed() {
    let night = |n: u128, months_back: i64| {
        let mut night = entry(n, 24, &[Good, Fails]);
        let back = TimeDelta::days(30 * months_back);
        let summary = night.summary.as_mut().unwrap();
        night.run.as_of -= back;
        night.run.scheduled_for -= back;
        night.run.started_at -= back;
        summary.as_of -= back;
        summary.scheduled_for -= back;
        summary.started_at -= back;
        night
    };
    // The one between comes last, as after a backfill.
    let nights = [night(1, 2), night(3, 0), night(2, 1)];
    let site = Arc::new(MemorySite::default());
    let store = store(Vec::new());
    for night in nights.clone() {
        let mut pending = night.clone();
        pending.run.publication = Publication::Pending;
        pending.run.pages = domain::run::PagesThere::Nothing;
        put(&store, pending);
        block_on(publisher(&store, &site, false).publish(night.run.batch_run_id)).unwrap();
        put(&store, night);
        assert_eq!(dead_links(&texts(&site)), Vec::<String>::new());
    }
    let (grown, whole) = (texts(&site), rebuilt(nights.into(), false));
    let mut months: Vec<&String> = whole.keys().filter(|path| path.starts_with("history/")).collect();
    months.retain(|path| grown.get(*path) != whole.get(*path));
    assert_eq!(months, Vec::<&String>::new(), "pages that a rebuild makes otherwise");
    let listed: serde_json::Value = serde_json::from_str(&grown["history/months.json"]).unwrap();
    assert_eq!(listed["months"].as_array().unwrap().len(), 3, "{listed}");

    // A list that is damaged does no harm to what is published, and a rebuild mends it.
    let wrong = pages::text("history/months.json".into(), "{".into());
    block_on(site.write(&wrong, &WriteIf::Always)).unwrap();
    block_on(publisher(&store, &site, false).rebuild()).unwrap();
    assert_eq!(texts(&site), grown);
}

#[test]
fn an_older_store_never_overwrites_a_newer_index() {
    let site = Arc::new(MemorySite::default());
    block_on(publisher(&store(nights()), &site, false).rebuild()).unwrap();
    let before = texts(&site)["index.html"].clone();
    let stale = store(nights().into_iter().take(4).collect());
    assert_eq!(block_on(publisher(&stale, &site, false).refresh_index()).unwrap(), 0);
    assert_eq!(texts(&site)["index.html"], before);
}
