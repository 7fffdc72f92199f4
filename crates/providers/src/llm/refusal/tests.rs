use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

fn now() -> DateTime<Utc> {
    "2026-11-20T12:00:00Z".parse().unwrap()
}

#[test]
fn answers_with_an_error_status() {
    use ErrorClass::*;
    let none: &[(&str, &str)] = &[];
    // Status, headers, body; then the class, the wait in milliseconds, and what the message holds.
    let cases = [
        (
            503,
            none,
            r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#,
            Transient,
            None,
            "Loading model",
        ),
        (
            400,
            none,
            r#"{"error":{"code":400,"message":"'messages' is required","type":"invalid_request_error"}}"#,
            Permanent,
            None,
            "'messages' is required",
        ),
        (
            400,
            none,
            r#"{"error":{"code":400,"message":"request (6031 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_ctx":4096}}"#,
            TooLarge,
            None,
            "6031",
        ),
        (
            400,
            none,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
            TooLarge,
            None,
            "8192",
        ),
        (
            400,
            none,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens.","type":"BadRequestError","param":null,"code":400}"#,
            TooLarge,
            None,
            "4096",
        ),
        (
            400,
            none,
            r#"{"object":"error","message":"no such field","type":"BadRequestError","param":null,"code":400}"#,
            Permanent,
            None,
            "no such field",
        ),
        (413, none, "", TooLarge, None, ""),
        (
            413,
            none,
            r#"{"error":{"message":"Request too large for model","type":"tokens","code":"rate_limit_exceeded"}}"#,
            TooLarge,
            None,
            "",
        ),
        (
            429,
            none,
            r#"{"error":{"message":"Request too large for gpt: Limit 30000, Requested 40000","type":"tokens","code":"rate_limit_exceeded"}}"#,
            TooLarge,
            None,
            "",
        ),
        (
            400,
            none,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"},"request_id":"req_1"}"#,
            TooLarge,
            None,
            "210000",
        ),
        (
            429,
            &[("retry-after", "2")],
            r#"{"error":{"message":"Rate limit reached. Please try again in 5.289s.","type":"tokens","code":"rate_limit_exceeded"}}"#,
            RateLimited,
            Some(2_000),
            "Rate limit",
        ),
        (
            429,
            none,
            r#"{"error":{"message":"Rate limit reached. Please try again in 5.289s.","type":"tokens","code":"rate_limit_exceeded"}}"#,
            RateLimited,
            Some(5_289),
            "",
        ),
        (
            429,
            none,
            r#"[{"error":{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}]"#,
            RateLimited,
            Some(34_000),
            "Quota exceeded.",
        ),
        (
            429,
            none,
            r#"[{"error":{"code":429,"message":"You exceeded your current quota.","status":"RESOURCE_EXHAUSTED","details":[{"violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]},{"retryDelay":"34s"}]}}]"#,
            Quota,
            Some(34_000),
            "",
        ),
        (
            429,
            none,
            r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            Quota,
            None,
            "",
        ),
        (
            429,
            none,
            r#"{"error":{"message":"m","type":"insufficient_quota","code":"project_spend_limit_exceeded"}}"#,
            Quota,
            None,
            "",
        ),
        (
            429,
            none,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"m","details":{"error_code":"enforced_spend_limit_reached"}}}"#,
            Quota,
            None,
            "",
        ),
        (
            400,
            none,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}"#,
            Quota,
            None,
            "",
        ),
        (402, none, r#"{"error":{"code":402,"message":"Insufficient credits"}}"#, Quota, None, ""),
        (402, none, r#"{"type":"error","error":{"type":"billing_error","message":"m"}}"#, Quota, None, ""),
        (
            402,
            &[("retry-after", "3")],
            r#"{"error":{"code":402,"message":"m","metadata":{"limit_source":"openrouter_in_flight_budget"}}}"#,
            RateLimited,
            Some(3_000),
            "",
        ),
        (429, &[("retry-after-ms", "150")], r#"{"error":"slow down"}"#, RateLimited, Some(150), "slow down"),
        (429, &[("retry-after", "Fri, 20 Nov 2026 12:01:00 GMT")], "", RateLimited, Some(60_000), ""),
        (503, none, r#"{"error":{"message":"m","code":"slow_down"}}"#, RateLimited, None, ""),
        (498, none, r#"{"error":{"message":"m","type":"capacity_exceeded"}}"#, Transient, None, ""),
        (
            529,
            none,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            Transient,
            None,
            "Overloaded",
        ),
        (
            503,
            &[("retry-after", "30")],
            r#"{"error":{"message":"m","type":"server_is_overloaded","code":null}}"#,
            Transient,
            Some(30_000),
            "",
        ),
        (408, none, "", Transient, None, ""),
        (
            500,
            none,
            "<html><head><title>502 Bad Gateway</title></head><body><h1>oops</h1></body></html>",
            Transient,
            None,
            "502 Bad Gateway oops",
        ),
        (502, none, "upstream gone", Transient, None, "upstream gone"),
        (504, none, "{\"error\":", Transient, None, "{\"error\":"),
        (501, none, "", Permanent, None, ""),
        (
            401,
            none,
            r#"{"error":{"message":"Invalid API Key","type":"invalid_request_error","code":"invalid_api_key"}}"#,
            Permanent,
            None,
            "",
        ),
        (403, none, r#"{"error":{"code":403,"message":"moderation"}}"#, Permanent, None, ""),
        (
            404,
            none,
            r#"{"error":{"message":"model 'm' not found, try pulling it first","type":"api_error","code":null}}"#,
            Permanent,
            None,
            "pulling",
        ),
        (422, none, r#"{"detail":"unprocessable"}"#, Permanent, None, "unprocessable"),
        (400, none, r#"{"error":{"message":"filtered","code":"content_filter"}}"#, Permanent, None, ""),
        (302, none, "", Permanent, None, ""),
        (500, none, r#"{"error":{"code":7,"message":"m"}}"#, Transient, None, ""),
        (500, none, "null", Transient, None, ""),
        (500, none, "[]", Transient, None, ""),
        (
            500,
            none,
            r#"{"error":{"message":"Provider returned error","metadata":{"raw":"model  crashed"}}}"#,
            Transient,
            None,
            "; model crashed",
        ),
    ];
    for (status, pairs, body, class, wait, part) in cases {
        let refusal = Refusal::of_body(status, &headers(pairs), body, now());
        assert_eq!(refusal.class(), class, "{status} {body}");
        let millis = refusal.retry_after.map(|wait| (wait.as_secs_f64() * 1_000.0).round() as u64);
        assert_eq!(millis, wait, "{status} {body}");
        assert!(refusal.message.contains(part), "{status} {body}: {}", refusal.message);
    }
}

#[test]
fn errors_inside_good_answers() {
    use ErrorClass::*;
    let cases = [
        (r#"{"error":{"code":502,"message":"model down"}}"#, Transient),
        (r#"{"error":{"code":"429","message":"m"}}"#, RateLimited),
        (r#"{"error":{"code":402,"message":"m"}}"#, Quota),
        (r#"{"error":{"code":400,"message":"m"}}"#, Permanent),
        (r#"{"error":{"code":"server_error","message":"m"}}"#, Transient),
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#, Transient),
        (r#"{"type":"error","error":{"type":"rate_limit_error","message":"m"}}"#, RateLimited),
        (r#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#, Permanent),
        (r#""text""#, Transient),
        (r#"{"message":"This model's maximum context length is 1"}"#, TooLarge),
    ];
    for (text, class) in cases {
        let refusal = Refusal::of_value(&serde_json::from_str(text).unwrap());
        assert_eq!(refusal.class(), class, "{text}");
    }
}

#[test]
fn nothing_long_is_repeated() {
    let body = format!(r#"{{"error":{{"message":"{}"}}}}"#, "é".repeat(10_000));
    let refusal = Refusal::of_body(500, &HeaderMap::new(), &body, now());
    assert_eq!(refusal.message.chars().count(), MAX_SHOWN_CHARS + 1);
}
