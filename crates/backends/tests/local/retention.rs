//! Retention of pinned inputs.

use super::*;

#[test]
fn pinned_inputs_outlive_the_results_and_go_on_a_day_of_their_own() {
    let (folder, store, old) = filled();
    let keep = RetentionDays { inputs: 40, ..KEEP };
    let files = || std::fs::read_dir(folder.path().join("snapshots")).unwrap().count();
    for days in [20, 40] {
        wait(store.retire(old.run.started_at + Duration::days(days), keep)).unwrap();
        assert_eq!(files(), 1, "after {days} days");
        assert_eq!(problems(&store), Vec::<String>::new(), "after {days} days");
    }
    let inputs = only_file(folder.path().join("snapshots"));
    let aside = folder.path().join("aside");
    std::fs::rename(&inputs, &aside).unwrap();
    told(&store, old.run.plan.as_ref().unwrap().snapshot.short());
    std::fs::rename(&aside, &inputs).unwrap();
    wait(store.retire(old.run.started_at + Duration::days(41), keep)).unwrap();
    assert_eq!(files(), 0, "no results went on that day, and the inputs go all the same");
    assert_eq!(problems(&store), Vec::<String>::new());
}

/// An earlier release deleted the inputs of a run with its results, and has no mark of its own for inputs.
#[test]
fn inputs_that_an_earlier_release_deleted_are_no_damage() {
    let (folder, store, old) = filled();
    wait(store.retire(old.run.started_at + Duration::days(20), KEEP)).unwrap();
    let sql = rusqlite::Connection::open(folder.path().join("records.sqlite")).unwrap();
    sql.execute("DELETE FROM meta WHERE name = 'inputs_retired_before'", []).unwrap();
    assert_eq!(problems(&store), Vec::<String>::new());
    let keep = RetentionDays { inputs: 400, ..KEEP };
    wait(store.retire(old.run.started_at + Duration::days(21), keep)).unwrap();
    assert_eq!(problems(&store), Vec::<String>::new());
}

#[test]
fn the_inputs_of_retired_runs_go_and_are_no_damage() {
    let (folder, store, old) = filled();
    wait(store.retire(old.run.started_at + Duration::days(60), KEEP)).unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("snapshots")).unwrap().count(), 0);
    assert_eq!(problems(&store), Vec::<String>::new());
    // Only what is old is excused: a younger run without its inputs is damaged.
    let young = wait(a_whole_run(&store, 2, 1));
    std::fs::remove_file(only_file(folder.path().join("snapshots"))).unwrap();
    told(&store, young.run.plan.unwrap().snapshot.short());
}
