//! Thanos, Mimir and Cortex: what they add to Prometheus' API, as their documentation describes it.

use super::*;

fn value(more: &Value) -> Value {
    let data = json!({"resultType": "vector", "result": [{"metric": {}, "value": [1, "2"]}]});
    let mut body = json!({"status": "success", "data": data});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn ask(server: &MockServer, more: &Value) -> Sample {
    let mut settings = json!({"url": format!("{}/prometheus", server.uri()), "timeout": "1s"});
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    let query = question("query", &json!({"promql": "sum(up)", "max": "1"}));
    source("prometheus", &settings).look(query, look()).await
}

fn field(request: &Request, name: &str) -> Option<String> {
    let mut body = url::form_urlencoded::parse(&request.body).into_owned();
    body.find(|(field, _)| field == name).map(|(_, value)| value)
}

#[tokio::test]
async fn a_tenant_is_a_header_and_more_parameters_go_with_every_query() {
    let server = answers(ok(&value(&json!({})))).await;
    let more = json!({
        "headers": {"X-Scope-OrgID": "shop"},
        "parameters": {"partial_response": "false", "dedup": "true", "max_source_resolution": "0s"},
    });
    assert_eq!(ask(&server, &more).await.answer, Answer::Value(2.0));
    let requests = asked(&server).await;
    let query = requests.iter().find(|r| r.url.path() == "/prometheus/api/v1/query").unwrap();
    assert_eq!(query.headers["x-scope-orgid"], "shop");
    assert_eq!(field(query, "partial_response").unwrap(), "false");
    assert_eq!(field(query, "dedup").unwrap(), "true");
    assert_eq!(field(query, "query").unwrap(), "sum(up)");
    // Without this VictoriaMetrics would answer about half a minute ago.
    assert_eq!(field(query, "nocache").unwrap(), "1");
}

#[tokio::test]
async fn a_partial_answer_of_thanos_is_an_error_in_its_own_words() {
    let warning = "receive series from Addr: 10.0.0.7:10901: rpc error: code = Unavailable";
    let partial = value(&json!({"warnings": [warning]}));
    let sample = ask(&answers(ok(&partial)).await, &json!({})).await;
    is_error(&sample.answer, "may be partial: receive series from Addr: 10.0.0.7:10901", false);
    // Where partial answers are forbidden, Thanos fails.
    let failed = json!({"status": "error", "errorType": "execution",
        "error": "expanding series: proxy Series(): rpc error: code = Aborted"});
    let server = answers(ResponseTemplate::new(422).set_body_json(failed)).await;
    is_error(&ask(&server, &json!({})).await.answer, "execution: expanding series: proxy", false);
}

#[tokio::test]
async fn the_limits_of_mimir_and_cortex_are_told_in_their_own_words() {
    let of = async |status: u16, body: Value| {
        let server = answers(ResponseTemplate::new(status).set_body_json(body)).await;
        ask(&server, &json!({})).await.answer
    };
    let told =
        |kind: &str, error: &str| json!({"status": "error", "errorType": kind, "error": error});
    let limit = "the query exceeded the maximum number of chunks (limit: 2000000 chunks) (err-mimir-max-chunks-per-query)";
    is_error(&of(422, told("execution", limit)).await, "(err-mimir-max-chunks-per-query)", false);
    is_error(
        &of(429, told("too_many_requests", "too many outstanding requests")).await,
        "too_many_requests: too many outstanding requests",
        true,
    );
    let known_to_nobody = told("quota", "out of luck");
    is_error(&of(400, known_to_nobody).await, "quota: out of luck", false);
    // Without a tenant: plain text.
    let server = answers(ResponseTemplate::new(401).set_body_string("no org id\n")).await;
    is_error(&ask(&server, &json!({})).await.answer, "HTTP 401: no org id", false);
    let server =
        answers(ResponseTemplate::new(500).set_body_string("at least 2 live replicas required"))
            .await;
    is_error(&ask(&server, &json!({})).await.answer, "HTTP 500: at least 2 live replicas", false);
}
