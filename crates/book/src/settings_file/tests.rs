//! The whole file: what is read, what is wrong, and where.

use proptest::prelude::*;

use super::*;
use crate::settings::{JOBS, Shock};

/// The settings, and errors and warnings as "line:column: text: message".
pub(super) fn parse(content: &str) -> (Settings, Vec<String>, Vec<String>) {
    let (mut errors, mut warnings) = (Findings::new(FILE), Findings::new(FILE));
    let settings = read(content.as_bytes(), &mut errors, &mut warnings).settings;
    let one = |i: &crate::Issue| {
        let (message, column) =
            i.message.strip_suffix(')').and_then(|m| m.rsplit_once(" (column ")).unwrap_or((&i.message, ""));
        format!("{}:{column}: {}: {message}", i.line, i.text)
    };
    let lines = |findings: Findings| findings.finish().iter().map(one).collect();
    (settings, lines(errors), lines(warnings))
}

#[test]
fn no_content_gives_the_defaults() {
    let (settings, errors, warnings) = parse("# nothing\n");
    assert_eq!(settings, Settings::default());
    assert!(errors.is_empty() && warnings.is_empty(), "{errors:?} {warnings:?}");
    assert_eq!(settings.scenarios.len(), 18);
    assert_eq!(settings.run.jobs.len(), JOBS.len());
    assert_eq!(settings.schedule.cron, "30 18 * * 1-5");
    for scenario in &settings.scenarios {
        for shock in &scenario.shocks {
            assert!(settings.factors.iter().any(|factor| factor.name == shock.factor), "{}", scenario.id);
        }
    }
}

/// Each setting, with a value that is not the default.
const EVERY_SETTING: &str = r#"
        [site]
        title = "Risk"
        base_url = "https://risk.example/night/"
        detail = "redacted"
        [schedule]
        name = "europe"
        cron = "0 22 * * MON-FRI"
        timezone = "Europe/Berlin"
        calendar = "weekdays"
        grace_minutes = 30
        catch_up = false
        close = "17:30"
        closed = [2026-12-24, "2026-12-31"]
        open = [2026-12-26]
        series = "nightly"
        [factors]
        Market = "VT"
        "Interest Rate" = "IEF"
        [rates]
        factor = "Interest Rate"
        duration = 7.5
        [factor_analysis]
        window = 120
        min_observations = 80
        beta_cap = 5
        [correlations]
        window = 60
        min_overlap = 20
        min_position_value = 0
        min_weight = 0.0
        cluster_threshold = 0.8
        [snapshot]
        risk_window = 500
        [greeks]
        rate = 0.03
        default_volatility = 0.3
        dividend_yield = 0.01
        [run]
        jobs = ["market_data_update", "position_values_update"]
        concurrency = 4
        retries = 5
        backoff_seconds = 0.5
        job_timeout_seconds = 60
        deadline_minutes = 45
        price_max_age_sessions = 3
        [market_risk]
        moves = [-0.3, 0.3]
        [controls]
        freshness = { warn = 0.95, fail = 0.8 }
        orphans = "off"
        [freshness]
        on_stale = "judge"
        wait_until = "23:00"
        [freshness.lag]
        VFIAX = 2
        [retention]
        records_days = 100
        results_days = 10
        inputs_days = 20
        [alerts]
        command = ["mail", "-s", "Nightbook"]
        wait_runs = 2
        min_portfolios = 3
        digest = false
        digest_days = 14
        quality_share = 0.25
        pace_seconds = 1.5
        overdue_minutes = 0
        quiet_hours = { from = "22:00", to = "07:30" }
        delivery = "at_most_once"
        [[alerts.mute]]
        fingerprint = "0123456789abcdef"
        until = 2026-12-24
        reason = "the vendor mends it"
        [[alerts.mute]]
        portfolio = "alpha"
        until = 2026-12-24T18:00:00+01:00
        reason = "being wound up"
        [[alerts.channel]]
        name = "desk"
        type = "slack"
        url_env = "DESK_WEBHOOK"
        min_severity = "warning"
        [[alerts.channel]]
        name = "hook"
        type = "webhook"
        url = "https://hooks.example/night"
        secret_env = "HOOK_SECRET"
        [[alerts.channel]]
        name = "mail"
        type = "email"
        host = "mail.example"
        username = "batch"
        password_env = "MAIL_PASSWORD"
        from = "Nightbook <night@example.com>"
        to = ["ops@example.com"]
        [[alerts.channel]]
        name = "pager"
        type = "command"
        command = ["page"]
        timeout_seconds = 5
        [[alerts.channel]]
        name = "topic"
        type = "sns"
        topic_arn = "arn:aws:sns:eu-central-1:123456789012:night"
        [[alerts.channel]]
        name = "bus"
        type = "eventbridge"
        bus = "default"
        [[scenarios]]
        id = "crash"
        name = "Crash"
        category = "market"
        severity = "severe"
        shocks = { Market = -0.4, "Interest Rate" = -0.01 }
    "#;

#[test]
fn every_setting_can_be_set() {
    let (settings, errors, warnings) = parse(EVERY_SETTING);
    assert!(errors.is_empty() && warnings.is_empty(), "{errors:?} {warnings:?}");
    let defaults = Settings::default();
    assert_ne!(settings.site, defaults.site);
    assert_eq!(settings.site.base_url.as_deref(), Some("https://risk.example/night"));
    assert_eq!(settings.schedule.timezone, "Europe/Berlin".parse().unwrap());
    assert_eq!(settings.schedule.close, chrono::NaiveTime::from_hms_opt(17, 30, 0));
    assert_eq!((settings.schedule.closed.len(), settings.schedule.open.len()), (2, 1));
    assert_eq!(settings.schedule.night_series().as_str(), "nightly");
    assert_eq!(settings.factors.iter().map(|f| f.name.as_str()).collect::<Vec<_>>(), ["Market", "Interest Rate"]);
    assert_eq!(settings.scenarios[0].shocks.len(), 2);
    assert_eq!(settings.scenarios[0].shocks[0], Shock { factor: "Market".to_owned(), change: -0.4 });
    assert_eq!(settings.run.concurrency, Some(4));
    assert_eq!(settings.market_risk.moves, [-0.3, 0.3]);
    assert_eq!(settings.alerts.command.as_deref().map(<[_]>::len), Some(3));
    assert_eq!(settings.alerts.all_channels().len(), 7);
    assert_eq!(settings.alerts.rules.quiet_hours.unwrap().timezone, "Europe/Berlin".parse().unwrap());
    let untils: Vec<String> = settings.alerts.rules.mutes.iter().map(|mute| mute.until.to_rfc3339()).collect();
    assert_eq!(untils, ["2026-12-25T00:00:00+00:00", "2026-12-24T17:00:00+00:00"]);
    // A setting that is read is one that can be written and read again.
    let text = toml::to_string(&settings).unwrap();
    let mut read = toml::from_str::<Settings>(&text).unwrap();
    assert!(!read.site.detail_is_stated, "this says something about the file, and is not stored");
    read.site.detail_is_stated = settings.site.detail_is_stated;
    assert_eq!(read, settings);
}

#[test]
fn all_errors_come_at_once_each_with_its_place() {
    let content = "titel = \"x\"\n[schedule]\ncrno = \"x\"\ncron = \"61 * * * *\"\ntimezone = \"Europe/Berlim\"\n\
                   grace_minutes = -1\n[run]\nretries = \"3\"\njobs = [\"factor_analysis\", \"greek_calculation\"]\n\
                   [greeks]\nrate = nan\nvolatility = 1\n[sceduled]\n";
    let (_, errors, _) = parse(content);
    for (at, wanted) in [
        "1:1: titel: unknown key `titel`",
        "3:1: crno: unknown key `schedule.crno`; did you mean `cron`?",
        "4:8: \"61 * * * *\": `cron` must have five fields",
        "5:12: \"Europe/Berlim\": `timezone` must be an IANA time zone such as America/New_York or UTC; did you mean `Europe/Berlin`?",
        "6:17: -1: `grace_minutes` must be a whole number from 0 to 10080",
        "8:11: \"3\": `retries` must be a whole number from 1 to 20, not a text",
    ]
    .iter()
    .enumerate()
    {
        assert!(errors[at].starts_with(wanted), "wanted {wanted}\n   got {}", errors[at]);
    }
    let rest = errors.join("\n");
    assert!(rest.contains("9:9: \"factor_analysis\": `factor_analysis` needs `market_data_update`"), "{rest}");
    assert!(rest.contains("9:28: \"greek_calculation\": no such job; did you mean `greeks_calculation`?"), "{rest}");
    assert!(rest.contains("11:8: nan: `rate` must be a number from -0.5 to 1"), "{rest}");
    assert!(rest.contains("12:1: volatility: unknown key"), "{rest}");
    assert!(rest.contains("13:2: sceduled: unknown key `sceduled`; did you mean `schedule`?"), "{rest}");
}

#[test]
fn the_column_of_a_finding_is_the_path_of_its_key() {
    let (mut errors, mut warnings) = (Findings::new(FILE), Findings::new(FILE));
    let content = "titel = 1\nsite.detail = \"x\"\n[run]\njobs = [\"no\"]\n\"a\\u0000\" = 1\n[[scenarios]]\nid = \"a\"\n\
                   shocks = { Market = 99 }\n[[scenarios]]\nid = \"b\"\n[factors]\nMarket = 3\n";
    read(content.as_bytes(), &mut errors, &mut warnings);
    let paths: Vec<(u64, String)> = errors.finish().into_iter().map(|issue| (issue.line, issue.column)).collect();
    let wanted = [
        (1, "titel"),
        (2, "site.detail"),
        (4, "run.jobs"),
        (5, "run.a\\u{0}"),
        (8, "scenarios.shocks.Market"),
        (9, "scenarios"),
        (12, "factors.Market"),
    ];
    assert_eq!(paths, wanted.map(|(line, path)| (line, path.to_owned())));
}

#[test]
fn syntax_errors_do_not_hide_the_others() {
    let (_, errors, _) = parse("[site]\ntitle = \ndetail = \"all\"\n[site]\n[run]\nretries = 0\nretries = 2\n");
    let all = errors.join("\n");
    assert!(all.contains("2:") && all.contains("not TOML"), "{all}");
    assert!(all.contains("`detail` must be one of full, redacted"), "{all}");
    assert!(all.contains("`retries` must be a whole number"), "{all}");
    assert!(all.contains("\n7:"), "{all}");
}

#[test]
fn settings_that_contradict_each_other_are_errors() {
    let (_, errors, _) = parse("[factor_analysis]\nwindow = 50\n[correlations]\nmin_overlap = 100\n");
    assert!(errors[0].starts_with("2:10: 50: min_observations is 60 and window 50"), "{errors:?}");
    assert!(errors[1].starts_with("4:15: 100: min_overlap is 100"), "{errors:?}");
    let (_, errors, _) = parse("[run]\njobs = [\"position_values_update\", \"market_data_update\"]\n");
    assert!(errors[0].contains("`market_data_update` must stand before `position_values_update`"), "{errors:?}");
    let (_, errors, _) = parse("[run]\njobs = []\n");
    assert!(errors[0].contains("a job at least"), "{errors:?}");
    let (_, errors, _) = parse("[run]\njobs = [\"market_data_update\", \"market_data_update\"]\n");
    assert!(errors[0].contains("twice"), "{errors:?}");
}

#[test]
fn sessions_are_checked() {
    let errors = |content: &str| parse(content).1;
    let days =
        "[schedule]\ncalendar = \"weekdays\"\nclosed = [2026-12-24, 2026-12-24, 12, 2026-02-30]\nopen = [2026-12-24]\n";
    let found = errors(&days.replace("2026-02-30", "\"2026-02-30\""));
    for wanted in ["2026-12-24 is in `closed` twice", "`closed` must have days", "2026-12-24 is in `closed` too"] {
        assert!(found.iter().any(|error| error.contains(wanted)), "{wanted} in {found:?}");
    }
    assert_eq!(found.len(), 4, "{found:?}");
    for close in ["\"24:00\"", "\"00:00\"", "\"5:30\"", "17"] {
        let found = errors(&format!("[schedule]\ncalendar = \"weekdays\"\nclose = {close}\n"));
        assert!(found.len() == 1 && found[0].contains("3:9: "), "{close}: {found:?}");
    }
    let found = errors("[schedule]\nclose = \"17:30\"\n");
    assert!(found[0].contains("nyse has closing hours of its own"), "{found:?}");
    let (_, errors, warnings) = parse("[schedule]\nclosed = [2026-11-28]\nopen = [2026-11-27]\n");
    assert!(errors.is_empty() && warnings.len() == 2, "{errors:?} {warnings:?}");
}

#[test]
fn scenarios_are_checked() {
    let (settings, errors, warnings) = parse(
        "[[scenarios]]\nid = \"a\"\nshocks = { Markt = -0.1 }\n[[scenarios]]\nid = \"a\"\nshocks = {}\n\
         [[scenarios]]\nid = \"B c\"\nseverity = \"huge\"\nshocks = { Market = -2.0, Value = \"x\" }\n[[scenarios]]\n",
    );
    assert_eq!(settings.scenarios.first().map(|s| s.name.as_str()), Some("a"));
    assert!(
        warnings[0].starts_with("3:12: Markt: the book has no such factor; did you mean `Market`?"),
        "{warnings:?}"
    );
    let all = errors.join("\n");
    for wanted in
        ["5:6: \"a\": another", "6:10: {}:", "8:6:", "9:12:", "10:21: -2.0", "10:35: \"x\"", "no `id`", "no `shocks`"]
    {
        assert!(all.contains(wanted), "{wanted} is not in\n{all}");
    }
}

#[test]
fn small_hours_are_warned_about_where_clocks_change() {
    let warnings =
        |cron: &str, zone: &str| parse(&format!("[schedule]\ncron = \"{cron}\"\ntimezone = \"{zone}\"\n")).2.len();
    assert_eq!(warnings("30 2 * * 2-6", "America/New_York"), 1);
    assert_eq!(warnings("0 */6 * * *", "Europe/Berlin"), 1);
    assert_eq!(warnings("0 4 * * *", "Europe/Berlin"), 0);
    assert_eq!(warnings("30 2 * * *", "UTC"), 0);
    assert_eq!(warnings("30 2 * * *", "Asia/Tokyo"), 0);
}

#[test]
fn factors_of_the_book_make_scenarios_built_in_incomplete() {
    let (settings, errors, warnings) = parse("[factors]\nWorld = \"VT\"\nTech = \"VT\"\n");
    assert!(errors.is_empty());
    assert_eq!(settings.factors.len(), 2);
    let all = warnings.join("\n");
    assert!(all.contains("18 of the 18 scenarios"), "{all}");
    assert!(all.contains("no factor named `Market`"), "{all}");
    assert!(all.contains("the proxy of `World` too"), "{all}");
}

#[test]
fn many_errors_take_no_more_time_than_few() {
    let content = (0..50_000).map(|n| format!("key{n} = 1\n")).collect::<String>();
    let started = std::time::Instant::now();
    let (_, errors, _) = parse(&content);
    assert_eq!(errors.len(), 1_001);
    assert!(errors[1_000].ends_with("and 49000 more, the last on line 50000"), "{}", errors[1_000]);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

/// A known key that is never read would take any value without a word.
#[test]
fn no_known_key_takes_a_value_of_the_wrong_kind() {
    for section in sections() {
        for key in section_keys(section) {
            let table = match section {
                "scenarios" | "jobs" | "limits" => format!("[[{section}]]"),
                _ => format!("[{section}]"),
            };
            let (_, errors, _) = parse(&format!("{table}\n{key} = 13:00:00\n"));
            assert!(errors.iter().any(|error| error.starts_with("2:")), "{section}.{key}: {errors:?}");
        }
    }
}

proptest! {
    #[test]
    fn no_text_panics(content in "([a-z_]{1,8} ?= ?[\\[\\]{}\"'0-9.a-z,-]{0,8}|\\[{1,2}[a-z.]{0,8}\\]{1,2}|\\PC{0,12}|\r)(\n([a-z_]{1,8} ?= ?[\\[\\]{}\"'0-9.a-z,-]{0,8}|\\[{1,2}[a-z.]{0,8}\\]{1,2}|\\PC{0,12}|\r)){0,8}") {
        let lines = content.lines().count() as u64;
        let (mut errors, mut warnings) = (Findings::new(FILE), Findings::new(FILE));
        read(content.as_bytes(), &mut errors, &mut warnings);
        for issue in errors.finish().iter().chain(&warnings.finish()) {
            prop_assert!(issue.line <= lines.max(1), "{issue:?}");
            prop_assert!(!issue.message.is_empty());
        }
    }
}
