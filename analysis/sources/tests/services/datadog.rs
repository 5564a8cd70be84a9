//! Datadog: `GET /api/v1/query` as its API reference describes it.

use super::*;

const QUERY: &str = "sum:http.errors{version:{{ canary.labels.version }}}.as_count()";

/// An answer with these points of one series; times in milliseconds.
fn points(points: &Value) -> Value {
    json!({
        "status": "ok", "res_type": "time_series", "resp_version": 1, "query": "sum:http.errors{version:v2}",
        "from_date": 1_795_212_730_000_i64, "to_date": 1_795_212_790_000_i64, "group_by": [],
        "message": "",
        "series": [{
            "metric": "http.errors", "scope": "version:v2", "tag_set": [], "aggr": "sum",
            "display_name": "http.errors", "interval": 20, "length": 3, "query_index": 0,
            "start": 1_795_212_730_000_i64, "end": 1_795_212_789_000_i64, "pointlist": points,
        }],
    })
}

async fn take(server: &MockServer) -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let settings = json!({
        "url": server.uri(), "timeout": "1s",
        "apiKey": secret(&folder, "api", "hunter2\n"), "applicationKey": secret(&folder, "app", "hunter3"),
    });
    source("datadog", &settings).look(number(QUERY), look()).await
}

#[tokio::test]
async fn datadog_is_asked_with_both_keys_and_the_window_in_seconds() {
    let server = answers(ok(&points(&json!([
        [1_795_212_730_000.0, 4.0],
        [1_795_212_750_000.0, 2.5],
        [1_795_212_770_000.0, 0.5],
    ]))))
    .await;
    let sample = take(&server).await;
    assert_eq!(sample.answer, Answer::Value(0.5));
    // With the roles exchanged there is something too.
    assert_eq!((sample.count, sample.serving_count), (None, Some(1.0)));
    assert_eq!(sample.scrape, Duration::from_secs(20));
    let requests = asked(&server).await;
    let queries: Vec<String> =
        requests.iter().map(|one| parameter(one, "query").unwrap()).collect();
    assert!(queries.contains(&"sum:http.errors{version:v2}.as_count()".to_owned()), "{queries:?}");
    assert!(queries.contains(&"sum:http.errors{version:v1}.as_count()".to_owned()), "{queries:?}");
    let request = &requests[0];
    assert_eq!(request.url.path(), "/api/v1/query");
    assert_eq!(parameter(request, "from").unwrap(), "1795212730");
    assert_eq!(parameter(request, "to").unwrap(), "1795212790");
    assert_eq!(request.headers["dd-api-key"], "hunter2");
    assert_eq!(request.headers["dd-application-key"], "hunter3");
}

#[tokio::test]
async fn datadogs_empty_null_and_late_points_are_nothing_and_several_series_an_error() {
    let of = async |body: Value| take(&answers(ok(&body)).await).await.answer;
    let mut none = points(&json!([]));
    is_nothing(&of(none.clone()).await, "no point");
    none["series"] = json!([]);
    is_nothing(&of(none).await, "no such series");
    let null = json!([[1_795_212_750_000.0, 2.0], [1_795_212_770_000.0, null]]);
    is_nothing(&of(points(&null)).await, "null");
    is_nothing(&of(points(&json!([[1_795_212_700_000.0, 2.0]]))).await, "90s old");
    let mut two = points(&json!([]));
    let series = two["series"][0].clone();
    two["series"] = json!([series, series]);
    is_error(&of(two).await, "2 series where one value was asked: version:v2", false);
}

#[tokio::test]
async fn datadogs_own_words_are_kept() {
    let told = json!({"status": "error", "error": "Error parsing query: unexpected token"});
    is_error(&take(&answers(ok(&told)).await).await.answer, "datadog: Error parsing query", false);
    let forbidden = ResponseTemplate::new(403).set_body_json(json!({"errors": ["Forbidden"]}));
    is_error(&take(&answers(forbidden).await).await.answer, "{\"errors\":[\"Forbidden\"]}", false);
    fails_as_http_does(take).await;
}
