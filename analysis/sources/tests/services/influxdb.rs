//! InfluxDB: `POST /query` as the documentation of 1.x, and of the 1.x API of 2, describes it.

use super::*;

fn rows(values: &Value) -> Value {
    json!({"results": [{"statement_id": 0, "series": [
        {"name": "http", "columns": ["time", "mean"], "values": values}]}]})
}

async fn take(server: &MockServer) -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let settings = json!({
        "url": server.uri(), "database": "shop", "timeout": "1s", "retentionPolicy": "week",
        "headers": {"Authorization": secret(&folder, "token", "Token hunter2")},
    });
    let query = number(
        "SELECT mean(seconds) FROM http WHERE version = '{{ canary.labels.version }}' \
         AND time >= '{{ begin }}' AND time < '{{ end }}'",
    );
    source("influxdb", &settings).look(query, look()).await
}

#[tokio::test]
async fn influxdb_is_asked_by_influxql_with_the_window_in_it() {
    let server = answers(ok(&rows(&json!([[1_795_212_730_000_i64, 0.25]])))).await;
    assert_eq!(take(&server).await.answer, Answer::Value(0.25));
    let requests = asked(&server).await;
    let request = &requests[0];
    assert_eq!((request.method.as_str(), request.url.path()), ("POST", "/query"));
    assert_eq!(request.headers["authorization"], "Token hunter2");
    let field = |request: &Request, name: &str| {
        let mut body = url::form_urlencoded::parse(&request.body).into_owned();
        body.find(|(field, _)| field == name).map(|(_, value)| value).unwrap()
    };
    assert_eq!((field(request, "db"), field(request, "rp")), ("shop".into(), "week".into()));
    assert_eq!(field(request, "epoch"), "ms");
    let wanted = "SELECT mean(seconds) FROM http WHERE version = 'v2' AND time >= \
                  '2026-11-20T22:12:10Z' AND time < '2026-11-20T22:13:10Z'";
    assert!(requests.iter().any(|request| field(request, "q") == wanted));
}

#[tokio::test]
async fn influxdbs_empty_and_null_rows_are_nothing_and_several_series_or_columns_an_error() {
    let of = async |body: Value| take(&answers(ok(&body)).await).await.answer;
    is_nothing(&of(json!({"results": [{"statement_id": 0}]})).await, "no such series");
    is_nothing(&of(rows(&json!([[1_795_212_730_000_i64, null]]))).await, "null");
    is_nothing(&of(rows(&json!([[1_795_212_700_000_i64, 1.0]]))).await, "90s old");
    let mut two = rows(&json!([]));
    let series = two["results"][0]["series"][0].clone();
    two["results"][0]["series"] = json!([series, series]);
    is_error(&of(two).await, "2 series where one value was asked", false);
    let mut wide = rows(&json!([]));
    wide["results"][0]["series"][0]["columns"] = json!(["time", "mean", "max"]);
    is_error(&of(wide).await, "time, mean, max: select one number", false);
    is_error(&of(rows(&json!([[1_795_212_730_000_i64, "x"]]))).await, "no number", false);
    let mut partial = rows(&json!([]));
    partial["results"][0]["partial"] = true.into();
    is_error(&of(partial).await, "partial", false);
}

#[tokio::test]
async fn influxdbs_own_words_are_kept() {
    let of = async |body: Value| take(&answers(ok(&body)).await).await.answer;
    let told = json!({"results": [{"statement_id": 0, "error": "database not found: shop"}]});
    is_error(&of(told).await, "influxdb: database not found: shop", false);
    let late = json!({"error": "query timed out"});
    is_error(&of(late).await, "influxdb: query timed out", true);
    fails_as_http_does(take).await;
}
