//! New Relic: NerdGraph's `nrql` as its tutorial describes it.

use super::*;

fn results(rows: &Value) -> Value {
    json!({"data": {"actor": {"account": {"nrql": {"results": rows}}}}})
}

async fn take(server: &MockServer) -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let key = secret(&folder, "key", "NRAK-hunter2");
    let settings = json!({"url": server.uri(), "account": 7, "apiKey": key, "timeout": "1s"});
    let query = number(
        "SELECT percentage(count(*), WHERE error) FROM Transaction WHERE version = \
         '{{ canary.labels.version }}'",
    );
    source("newRelic", &settings).look(query, look()).await
}

#[tokio::test]
async fn new_relic_is_asked_by_nrql_of_the_window_as_a_variable() {
    let server = answers(ok(&results(&json!([{"percentage": 0.5}])))).await;
    assert_eq!(take(&server).await.answer, Answer::Value(0.5));
    let requests = asked(&server).await;
    let request = &requests[0];
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", "/graphql"));
    assert_eq!(request.headers["api-key"], "NRAK-hunter2");
    let bodies: Vec<Value> =
        requests.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    assert_eq!(bodies[0]["variables"]["account"], 7);
    let wanted = "SELECT percentage(count(*), WHERE error) FROM Transaction WHERE version = 'v2' \
                  SINCE 1795212730000 UNTIL 1795212790000";
    assert!(bodies.iter().any(|body| body["variables"]["nrql"] == wanted), "{bodies:?}");
    // No text of a user stands in the query itself.
    assert!(!bodies[0]["query"].as_str().unwrap().contains("Transaction"));
}

#[tokio::test]
async fn a_row_of_new_relic_is_one_number_or_nothing() {
    let of = async |rows: Value| take(&answers(ok(&results(&rows))).await).await.answer;
    assert_eq!(of(json!([{"count": 0}])).await, Answer::Value(0.0));
    assert_eq!(of(json!([{"percentile.duration": {"99": 1.5}}])).await, Answer::Value(1.5));
    is_nothing(&of(json!([])).await, "no such row");
    is_nothing(&of(json!([{"average.duration": null}])).await, "null");
    is_nothing(&of(json!([{"latest.version": "v2"}])).await, "text");
    is_error(&of(json!([{"a": 1, "b": 2}])).await, "more than one number", false);
    is_error(&of(json!([{"count": 1}, {"count": 2}])).await, "2 series", false);
}

#[test]
fn a_query_of_new_relic_that_names_a_time_of_its_own_is_refused_when_it_is_read() {
    let entry = source_entry("newRelic").unwrap();
    let refusal = |query: &str| (entry.answers)(&Value::Null, &number(query));
    for (query, word) in [
        ("SELECT count(*) FROM Transaction SINCE 1 hour ago", "SINCE"),
        ("SELECT count(*) FROM Transaction facet host", "FACET"),
        ("SELECT count(*) FROM Transaction TIMESERIES", "TIMESERIES"),
    ] {
        let refusal = refusal(query).unwrap_err();
        assert!(refusal.to_string().contains(&format!("says {word}")), "{refusal}");
    }
    for query in [
        "SELECT count(*) FROM Transaction WHERE name = 'since the facet'",
        "SELECT count(sinceStart) FROM Transaction WHERE `until` IS NULL",
    ] {
        assert!(refusal(query).is_ok(), "{query}");
    }
}

#[tokio::test]
async fn new_relics_own_words_are_kept() {
    let of = async |class: &str| {
        let error = json!({"message": "NRQL Syntax Error", "extensions": {"errorClass": class},
            "path": ["actor", "account", "nrql"]});
        let body = json!({"data": {"actor": {"account": {"nrql": null}}}, "errors": [error]});
        take(&answers(ok(&body)).await).await.answer
    };
    is_error(&of("INVALID_INPUT").await, "INVALID_INPUT: NRQL Syntax Error", false);
    is_error(&of("TIMEOUT").await, "TIMEOUT: NRQL Syntax Error", true);
    is_error(&of("TOO_MANY_REQUESTS").await, "TOO_MANY_REQUESTS", true);
    fails_as_http_does(take).await;
}
