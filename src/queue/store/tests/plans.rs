//! How SQLite goes about it: by an index, with statements that stay prepared.

use super::*;

#[test]
fn no_look_walks_through_those_that_wait() {
    let store = Queue::new().open();
    for (sql, index) in [
        (leases::DUE.to_owned(), "job_turn"),
        (leases::NEXT_PLACE.to_owned(), "job_turn"),
        (leases::NEXT_PRIORITY.to_owned(), "job_turn"),
        (leases::FIRST.to_owned(), "job_turn"),
        (leases::SET_BACK.to_owned(), "job_since"),
        (leases::EXPIRED.to_owned(), "job_expires"),
        (leases::FIRST_END.to_owned(), "job_expires"),
        (leases::LEASES.to_owned(), "job_worker"),
        (leases::RENEW.to_owned(), "job_worker"),
        (leases::WITHOUT_WAY.to_owned(), "job_has_no_way"),
        (leases::PLACES_WITHOUT_WAY.to_owned(), "job_has_no_way"),
        (deciding::DONE_BEFORE.to_owned(), "job_finished"),
        (deciding::of_state(Status::Done), "job_finished"),
        (deciding::of_state(Status::Waiting), "job_"),
        (looking::NAMED.to_owned(), "sqlite_autoindex_job_1"),
        ("SELECT name FROM job WHERE key = ?".to_owned(), "job_key"),
        ("SELECT key FROM removed WHERE ended < ? ORDER BY ended LIMIT ?".to_owned(), "removed_ended"),
    ] {
        let mut plan = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nulls = vec![rusqlite::types::Null; plan.parameter_count()];
        let plan = plan.query_map(rusqlite::params_from_iter(nulls), |row| row.get::<_, String>("detail")).unwrap();
        let plan: Vec<String> = plan.collect::<Result<_, _>>().unwrap();
        // An index of a few messages may be walked through.
        let is_sorted = plan.iter().any(|step| step.contains("TEMP B-TREE"));
        assert!(plan[0].contains(index) && !is_sorted, "{sql}: {plan:?}");
    }
}

#[test]
fn no_value_makes_a_statement_be_prepared_anew() {
    let store = Queue::new().open();
    for sql in [leases::DUE, leases::NEXT_PRIORITY, leases::FIRST, leases::EXPIRED, leases::RECIPIENTS, settling::SAY] {
        let mut statement = store.connection.prepare(sql).unwrap();
        for value in [0, 1, 700] {
            let values = vec![value; statement.parameter_count()];
            let mut rows = statement.query(rusqlite::params_from_iter(values)).unwrap();
            while rows.next().unwrap().is_some() {}
        }
        assert_eq!(statement.get_status(rusqlite::StatementStatus::RePrepare), 0, "{sql}");
    }
}
