//! Graphite: `GET /render?format=json` as its documentation describes it.

use super::*;

fn series(points: &Value) -> Value {
    json!([{"target": "shop.v2.errors", "tags": {"name": "shop.v2.errors"}, "datapoints": points}])
}

async fn take(server: &MockServer) -> Sample {
    let settings = json!({"url": format!("{}/graphite", server.uri()), "timeout": "1s"});
    let query = number("sumSeries(shop.{{ canary.labels.version }}.errors)");
    source("graphite", &settings).look(query, look()).await
}

#[tokio::test]
async fn graphite_is_asked_for_json_of_the_window() {
    let points = json!([[4.0, 1_795_212_740], [null, 1_795_212_750], [2.5, 1_795_212_780]]);
    let server = answers(ok(&series(&points))).await;
    assert_eq!(take(&server).await.answer, Answer::Value(2.5));
    let requests = asked(&server).await;
    assert!(requests.iter().all(|request| request.url.path() == "/graphite/render"));
    let targets: Vec<String> =
        requests.iter().map(|one| parameter(one, "target").unwrap()).collect();
    assert!(targets.contains(&"sumSeries(shop.v2.errors)".to_owned()), "{targets:?}");
    assert_eq!(parameter(&requests[0], "from").unwrap(), "1795212730");
    assert_eq!(parameter(&requests[0], "until").unwrap(), "1795212790");
    assert_eq!(parameter(&requests[0], "format").unwrap(), "json");
}

#[tokio::test]
async fn graphites_empty_null_and_late_points_are_nothing_and_several_series_an_error() {
    let of = async |body: Value| take(&answers(ok(&body)).await).await.answer;
    is_nothing(&of(json!([])).await, "no such series");
    is_nothing(&of(series(&json!([]))).await, "no point");
    let null = json!([[4.0, 1_795_212_740], [null, 1_795_212_780]]);
    is_nothing(&of(series(&null)).await, "null");
    is_nothing(&of(series(&json!([[4.0, 1_795_212_700]]))).await, "90s old");
    // No moment at all.
    is_nothing(&of(series(&json!([[4.0, i64::MAX]]))).await, "no point");
    is_nothing(&of(series(&json!([[4.0, i64::MIN]]))).await, "before the window");
    let one = series(&json!([]))[0].clone();
    is_error(&of(json!([one, one])).await, "2 series where one value was asked", false);
}

#[tokio::test]
async fn graphites_failures_are_told_from_silence() {
    fails_as_http_does(take).await;
}
