//! A real llama.cpp server, where someone has started one.

use super::*;

/// Its base URL without `/v1`, for example `http://127.0.0.1:8080`.
const URL: &str = "QUILLWORK_TEST_LLAMA";

#[tokio::test]
#[ignore = "needs a llama.cpp server with a context of 4096 tokens at QUILLWORK_TEST_LLAMA"]
async fn llama_cpp_answers_counts_refuses_and_stops() {
    let url = std::env::var(URL).expect(URL);
    let model = balancer(vec![EndpointConfig { key: None, ..endpoint("llama", openai(), &url) }]);
    let call = Call::within(Duration::from_secs(120));

    let mut seen = Seen::default();
    let short = Prompt { max_output_tokens: 40, ..prompt() };
    let done = model.complete(&short, &call, &mut seen).await.unwrap();
    println!("{done:?}");
    assert_eq!(seen.0, done.text);
    assert!(!done.usage.estimated && done.usage.input > 0 && done.usage.output <= 40, "{:?}", done.usage);

    let one = Prompt { max_output_tokens: 1, ..prompt() };
    assert_eq!(model.complete(&one, &call, &mut Seen::default()).await.unwrap().finish, Finish::Length);

    let text = "leases expire ".repeat(4_000);
    let long = Prompt { messages: vec![Message { role: Role::User, text }], ..prompt() };
    let error = model.complete(&long, &call, &mut Seen::default()).await.unwrap_err();
    println!("{error}");
    assert_eq!(error.class, ErrorClass::TooLarge);

    let mut seen = stream::CancelAtFirst(call.clone());
    let error = model.complete(&prompt(), &call, &mut seen).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Released);
    // Its one slot is free again.
    ask(&model).await.0.unwrap();
}
