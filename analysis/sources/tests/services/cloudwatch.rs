//! CloudWatch: `GetMetricData` as its API reference describes it, over JSON 1.0.

use super::*;

fn result(timestamps: &Value, values: &Value) -> Value {
    json!({"Messages": [], "MetricDataResults": [{
        "Id": "number", "Label": "errors", "StatusCode": "Complete",
        "Timestamps": timestamps, "Values": values,
    }]})
}

async fn ask(server: &MockServer, query: &str) -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let settings = json!({
        "url": server.uri(), "region": "eu-central-1", "timeout": "1s",
        "accessKeyId": secret(&folder, "id", "AKIDEXAMPLE"),
        "secretAccessKey": secret(&folder, "key", "hunter2"),
        "sessionToken": secret(&folder, "token", "hunter3"),
    });
    source("cloudWatch", &settings).look(number(query), look()).await
}

async fn take(server: &MockServer) -> Sample {
    ask(server, "SELECT SUM(Errors) FROM Shop WHERE Version = '{{ canary.labels.version }}'").await
}

#[tokio::test]
async fn cloudwatch_is_asked_with_a_signature_and_the_newest_value_counts() {
    let body = result(&json!([1_795_212_780.0, 1_795_212_740.0]), &json!([2.5, 4.0]));
    let server = answers(ok(&body)).await;
    let sample = take(&server).await;
    assert_eq!((sample.answer, sample.scrape), (Answer::Value(2.5), Duration::from_secs(60)));
    let requests = asked(&server).await;
    let request = &requests[0];
    let header = |name: &str| request.headers[name].to_str().unwrap().to_owned();
    assert_eq!(header("x-amz-target"), "GraniteServiceVersion20100801.GetMetricData");
    assert_eq!(header("content-type"), "application/x-amz-json-1.0");
    assert_eq!(header("x-amz-security-token"), "hunter3");
    let signed = header("authorization");
    assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), "{signed}");
    let names = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target";
    assert!(signed.contains("/eu-central-1/monitoring/aws4_request") && signed.contains(names));
    assert!(!signed.contains("hunter2"));
    let bodies: Vec<Value> =
        requests.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect();
    let (begin, end) = (&bodies[0]["StartTime"], &bodies[0]["EndTime"]);
    assert_eq!((begin, end), (&json!(1_795_212_730), &json!(1_795_212_790)));
    let wanted = json!([{"Id": "number", "Period": 60,
        "Expression": "SELECT SUM(Errors) FROM Shop WHERE Version = 'v2'"}]);
    assert!(bodies.iter().any(|body| body["MetricDataQueries"] == wanted), "{bodies:?}");
}

#[tokio::test]
async fn cloudwatch_takes_a_list_of_queries_as_it_is() {
    let server = answers(ok(&result(&json!([1_795_212_780.0]), &json!([1.0])))).await;
    let query = r#"[{"Id": "e", "Expression": "a / b"}]"#;
    assert_eq!(ask(&server, query).await.answer, Answer::Value(1.0));
    let body: Value = serde_json::from_slice(&asked(&server).await[0].body).unwrap();
    assert_eq!(body["MetricDataQueries"], json!([{"Id": "e", "Expression": "a / b"}]));
    is_error(&ask(&server, "[{]}").await.answer, "no list of queries", false);
}

#[tokio::test]
async fn cloudwatchs_empty_and_late_points_are_nothing_and_a_partial_answer_an_error() {
    let of = async |body: Value| take(&answers(ok(&body)).await).await.answer;
    is_nothing(&of(result(&json!([]), &json!([]))).await, "no point");
    is_nothing(&of(json!({"MetricDataResults": []})).await, "no such metric");
    is_nothing(&of(result(&json!([1_795_212_700.0]), &json!([1.0]))).await, "90s old");
    let coded = |code: &str| {
        let mut body = result(&json!([1_795_212_780.0]), &json!([1.0]));
        body["MetricDataResults"][0]["StatusCode"] = code.into();
        body
    };
    is_error(&of(coded("PartialData")).await, "partial (PartialData)", false);
    is_error(&of(coded("Forbidden")).await, "Forbidden", false);
    is_error(&of(coded("InternalError")).await, "InternalError", true);
    let mut more = coded("Complete");
    more["NextToken"] = "next".into();
    is_error(&of(more).await, "partial", false);
    let mut two = coded("Complete");
    let one = two["MetricDataResults"][0].clone();
    two["MetricDataResults"] = json!([one, one]);
    is_error(&of(two).await, "2 series where one value was asked", false);
}

#[tokio::test]
async fn cloudwatchs_own_words_are_kept() {
    let of = async |kind: &str| {
        let told = json!({"__type": format!("com.amazonaws.cloudwatch#{kind}"), "message": "Rate exceeded"});
        take(&answers(ResponseTemplate::new(400).set_body_json(told)).await).await.answer
    };
    is_error(&of("Throttling").await, "Throttling: Rate exceeded", true);
    is_error(&of("ValidationError").await, "ValidationError: Rate exceeded", false);
    fails_as_http_does(take).await;
}
