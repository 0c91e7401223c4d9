//! A redacted site holds nothing of the full level.

use domain::ports::PublishError;

use super::*;

/// Marks in everything that a run carries of its book: ids, names, symbols, messages, notes, money, triggers.
pub(super) fn canaries(mut entries: Vec<Entry>) -> Vec<Entry> {
    for entry in &mut entries {
        entry.run.trigger = "CANARY-trigger".into();
        entry.run.filter = vec![sample::id_of(1)];
        for item in &mut entry.items {
            for record in &mut item.records {
                let brief = serde_json::json!({
                    "market_value": 7_654_321.5, "daily_pnl": -86_420.25, "var_95": -0.987_654, "market_beta": 4.321_987,
                    "worst_case_pnl": -1_357_911.5, "worst_case_scenario": "CANARY-scenario", "run_symbols": 12,
                    "run_missing_symbols": ["CANARY-SYMBOL"],
                });
                record.job_metadata = brief.as_object().cloned().unwrap();
                if let Some(quality) = &mut record.quality {
                    quality.symbols_missing.push("CANARY-missing".into());
                    quality.notes.push("CANARY-note".into());
                }
                if let Some(error) = &mut record.error {
                    error.chain.push("CANARY-chain".into());
                }
                if let Some(because) = &mut record.skipped_because {
                    because.reason = "CANARY-reason".into();
                }
            }
        }
        entry.summary = entry.summary.as_ref().map(|_| summarise(&entry.run, &entry.items, &BTreeMap::new()));
    }
    entries
}

#[test]
fn nothing_of_the_full_level_is_in_any_byte_of_a_redacted_site() {
    let secrets = [
        "fund-0",
        "Fund number",
        "Evil",
        "1,234,567",
        "1234567",
        "ZVZZT",
        "AAPL",
        "CANARY",
        "Grace",
        "equity-desk",
        "wiki.example",
        "CHF",
        "7654321",
        "7,654,3",
        "86420",
        "86,420",
        "0.987654",
        "98.77",
        "4.321987",
        "4.32",
        "1357911",
        "1,357,9",
    ];
    let full: String = rebuilt(canaries(nights()), false).into_iter().flat_map(|(path, text)| [path, text]).collect();
    let told = secrets.iter().filter(|secret| full.contains(**secret)).count();
    assert!(told > 15, "the full level tells {told}: the test would see a leak");
    let redacted = rebuilt(canaries(nights()), true);
    assert!(redacted.values().any(|text| text.contains("usable equity")), "a cause shows the template of its message");
    for (path, text) in redacted {
        for secret in secrets {
            assert!(!text.contains(secret) && !path.contains(secret), "{path} tells {secret}");
        }
    }
}

/// The paths of the pages of portfolios.
fn portfolio_pages(site: &MemorySite) -> Vec<String> {
    texts(site).into_keys().filter(|path| path.starts_with("portfolios/") && path.ends_with("index.html")).collect()
}

#[test]
fn a_refresh_by_another_detail_leaves_a_whole_site_of_this_detail() {
    for (before, after) in [(false, true), (true, false)] {
        let site = Arc::new(MemorySite::default());
        let store = store(nights());
        block_on(publisher(&store, &site, before).rebuild()).unwrap();
        let pages = portfolio_pages(&site);
        block_on(publisher(&store, &site, after).refresh_index()).unwrap();
        assert_eq!(texts(&site), rebuilt(nights(), after), "redacted: {after}");
        assert!(portfolio_pages(&site).iter().all(|page| !pages.contains(page) || page == "portfolios/index.html"));
    }
}

#[test]
fn a_redacted_site_without_its_mark_is_written_whole_by_a_refresh() {
    let site = Arc::new(MemorySite::default());
    let store = store(nights());
    block_on(publisher(&store, &site, true).rebuild()).unwrap();
    block_on(site.remove("detail.txt")).unwrap();
    block_on(publisher(&store, &site, true).refresh_index()).unwrap();
    assert_eq!(texts(&site), rebuilt(nights(), true));
}

#[test]
fn a_redacted_site_becomes_full_only_where_that_is_said() {
    let site = Arc::new(MemorySite::default());
    let store = store(nights());
    block_on(publisher(&store, &site, true).rebuild()).unwrap();
    let before = texts(&site);
    let doubtful = SiteOptions { replaces_redacted: false, ..options(false) };
    let parts = parts(&store, &site, Spread::Never);
    let publisher = SitePublisher::new(parts, doubtful);
    assert!(matches!(block_on(publisher.rebuild()), Err(PublishError::Withheld(_))));
    assert!(matches!(block_on(publisher.refresh_index()), Err(PublishError::Withheld(_))));
    assert_eq!(texts(&site), before);
}
