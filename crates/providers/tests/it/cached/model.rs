//! Completions that were paid for before.

use quillwork_app::ports::model::{
    Completion, DraftSink, FailedCall, Finish, LanguageModel, Message, Prompt, Role, TokenUsage,
};
use quillwork_providers::cache::model::{CachedModel, Temperatures};

use super::*;

/// Ends each answer so.
struct Model {
    outside: Outside,
    finish: Finish,
    text: &'static str,
}

#[async_trait]
impl LanguageModel for Model {
    async fn complete(
        &self,
        _: &Prompt,
        _: &Call,
        draft: &mut dyn DraftSink,
    ) -> Result<Completion, ProviderError> {
        let n = self.outside.called().await?;
        for word in self.text.split_inclusive(' ') {
            draft.push(word);
        }
        Ok(Completion {
            from_cache: false,
            text: self.text.into(),
            finish: self.finish,
            provider: "fake".into(),
            model: "fake-1".into(),
            usage: TokenUsage { input: 40, output: 55, estimated: false },
            request_id: Some(n.to_string()),
            cost_micros: 1_234,
            prices: Some("2026-11".into()),
            choice: "the only one".into(),
        })
    }
}

#[derive(Default)]
struct Pieces(Vec<String>);

impl DraftSink for Pieces {
    fn push(&mut self, text: &str) {
        self.0.push(text.into());
    }

    fn restart(&mut self) {
        self.0.clear();
    }

    fn billed(&mut self, _: FailedCall) {}
}

fn prompt(text: &str, temperature_milli: u16) -> Prompt {
    let messages = vec![Message { role: Role::User, text: text.into() }];
    Prompt { system: "Be brief.".into(), messages, max_output_tokens: 100, temperature_milli }
}

fn model(outside: &Outside, temperatures: Temperatures) -> Arc<CachedModel> {
    let inner = Model { outside: outside.clone(), finish: Finish::Stop, text: "one two three" };
    Arc::new(CachedModel::new(Arc::new(inner), "fake-1".into(), temperatures, answers(memory())))
}

async fn complete(model: &dyn LanguageModel, prompt: &Prompt) -> (Completion, Vec<String>) {
    let mut pieces = Pieces::default();
    let completion = answered(model.complete(prompt, &call(), &mut pieces)).await.unwrap();
    (completion, pieces.0)
}

#[tokio::test]
async fn a_completion_from_the_cache_costs_nothing() {
    let outside = Outside::default();
    let model = model(&outside, Temperatures::Zero);
    let (first, streamed) = complete(&*model, &prompt("topic", 0)).await;
    assert_eq!((first.cost_micros, streamed), (1_234, vec!["one ".into(), "two ".into(), "three".into()]));
    let (again, whole) = complete(&*model, &prompt("topic", 0)).await;
    assert_eq!(outside.calls(), 1);
    assert_eq!(whole, ["one two three"]);
    assert_eq!((again.text, again.model, again.finish), (first.text, first.model, Finish::Stop));
    assert_eq!((again.cost_micros, again.usage), (0, TokenUsage::default()));
    assert_eq!((first.from_cache, again.from_cache), (false, true));
    assert!(
        again.choice.contains("from the cache") && again.choice.contains("the only one"),
        "{}",
        again.choice
    );
}

#[tokio::test]
async fn the_whole_prompt_decides() {
    let outside = Outside::default();
    let model = model(&outside, Temperatures::Zero);
    let asked = prompt("topic", 0);
    let prompts = [
        asked.clone(),
        prompt("Topic", 0),
        Prompt { system: "Be long.".into(), ..asked.clone() },
        Prompt { max_output_tokens: 101, ..asked.clone() },
        Prompt { messages: [asked.messages.clone(), asked.messages.clone()].concat(), ..asked },
    ];
    for _ in 0..2 {
        for prompt in &prompts {
            complete(&*model, prompt).await;
        }
    }
    assert_eq!(outside.calls(), 5);
}

#[tokio::test]
async fn chance_is_not_kept_unless_it_is_wanted() {
    for (temperatures, calls) in [(Temperatures::Zero, 2), (Temperatures::Any, 1)] {
        let outside = Outside::default();
        let model = model(&outside, temperatures);
        for _ in 0..2 {
            complete(&*model, &prompt("topic", 700)).await;
        }
        assert_eq!(outside.calls(), calls, "{temperatures:?}");
    }
}

#[tokio::test]
async fn what_is_no_whole_answer_is_not_kept() {
    for (finish, text) in [(Finish::Length, "cut"), (Finish::Filtered, "with"), (Finish::Stop, " \n")] {
        let outside = Outside::default();
        let inner = Model { outside: outside.clone(), finish, text };
        let model = CachedModel::new(Arc::new(inner), String::new(), Temperatures::Zero, answers(memory()));
        for _ in 0..2 {
            let (completion, _) = complete(&model, &prompt("topic", 0)).await;
            assert_eq!((completion.finish, completion.cost_micros), (finish, 1_234));
        }
        assert_eq!(outside.calls(), 2, "{finish:?}");
    }
}

#[tokio::test]
async fn those_who_waited_for_another_pay_nothing() {
    let outside = Outside::gated(0);
    let model = model(&outside, Temperatures::Zero);
    let asking = || {
        let model = model.clone();
        tokio::spawn(async move { complete(&*model, &prompt("topic", 0)).await })
    };
    let leader = asking();
    outside.entered().await;
    let followers = [asking(), asking()];
    outside.let_go(1);
    let (paid, _) = leader.await.unwrap();
    assert_eq!((paid.cost_micros, paid.from_cache), (1_234, false));
    for follower in followers {
        let (completion, pieces) = follower.await.unwrap();
        assert_eq!((completion.cost_micros, pieces), (0, vec!["one two three".to_owned()]));
        assert!(completion.from_cache);
    }
    assert_eq!(outside.calls(), 1);
}
