//! The outside world as this process sees it: searches, pages and models, each behind its guard and its cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use prometheus_client::registry::Registry;
use quillwork_app::draft::DraftBoard;
use quillwork_app::ports::cache::Cache;
use quillwork_app::ports::fetch::Fetch;
use quillwork_app::ports::model::LanguageModel;
use quillwork_app::ports::rate_limiter::RateLimiter;
use quillwork_app::ports::remote::RemoteStage;
use quillwork_app::ports::search::Search;
use quillwork_providers::cache::NAMESPACES;
use quillwork_providers::cache::answers::{Answers, Ttls};
use quillwork_providers::cache::fetch::CachedFetch;
use quillwork_providers::cache::memory::MemoryCache;
use quillwork_providers::cache::metrics::CacheMetrics;
use quillwork_providers::cache::model::{CachedModel, Temperatures};
use quillwork_providers::cache::redis::RedisCache;
use quillwork_providers::cache::search::CachedSearch;
use quillwork_providers::cache::tiers::Tiers;
use quillwork_providers::corpus::Corpus;
use quillwork_providers::draft_relay::relay;
use quillwork_providers::extractive::Extractive;
use quillwork_providers::fetch::WebFetcher;
use quillwork_providers::llm::{
    Balancer, Dialect as Spoken, EndpointConfig, OpenAiOptions, Price as Priced, PriceTable, Timeouts,
};
use quillwork_providers::rate_limit::memory::MemoryLimiter;
use quillwork_providers::rate_limit::redis::RedisLimiter;
use quillwork_providers::redis_server::{CALL_TIMEOUT, RedisServer};
use quillwork_providers::remote::HttpService;
use quillwork_providers::resilience::{Guard, GuardedFetch, GuardedSearch, Limits, ProviderMetrics};
use quillwork_providers::web_search::brave::{Brave, BraveConfig};
use quillwork_providers::web_search::searxng::{Searxng, SearxngConfig};
use quillwork_providers::web_search::wikipedia::{Wikipedia, WikipediaConfig};
use quillwork_worker::stages::{Providers, SERVICE_CONCURRENCY, Template};

use crate::config::{CORPUS, Dialect, Frequency, ModelSettings, Price, SearchKind, SearchSettings, Settings};

/// What stages and rates need of the outside.
pub(crate) struct Outside {
    pub(crate) providers: Providers,
    /// Of this process, or of all on one Redis.
    pub(crate) limiter: Arc<dyn RateLimiter>,
    tiers: Tiers,
    warm_up_bytes: u64,
    redis: Option<RedisServer>,
}

/// What every provider is made with.
struct Means<'a> {
    settings: &'a Settings,
    limiter: Arc<dyn RateLimiter>,
    metrics: ProviderMetrics,
    answers: Arc<Answers>,
}

impl Outside {
    /// Asks nobody anything yet. `store` keeps answers behind all other caches. What providers do is shown by `registry`.
    pub(crate) fn new(
        settings: &Settings,
        store: Option<Arc<dyn Cache>>,
        registry: &mut Registry,
    ) -> anyhow::Result<Self> {
        let redis = match &settings.redis {
            Some(url) => Some(RedisServer::new(url.clone(), CALL_TIMEOUT).context("redis")?),
            None => None,
        };
        let limiter: Arc<dyn RateLimiter> = match &redis {
            Some(server) => Arc::new(RedisLimiter::new(server.clone())),
            None => Arc::new(MemoryLimiter::default()),
        };
        let tiers = tiers(settings, store, redis.clone());
        let ttls = Ttls {
            search: settings.cache.search_ttl.0,
            page: settings.cache.page_ttl.0,
            completion: settings.cache.completion_ttl.0,
            negative: settings.cache.negative_ttl.0,
        };
        let answers = Answers::new(Arc::new(tiers.clone()), ttls, CacheMetrics::register(registry));
        let answers = Arc::new(match redis.clone() {
            Some(server) => answers.across_fleet(server),
            None => answers,
        });
        let metrics = ProviderMetrics::register(registry);
        let means = Means { settings, limiter: limiter.clone(), metrics, answers };
        let providers = Providers {
            searches: means.searches()?,
            default_searches: settings.research.search.clone(),
            fetch: means.fetch()?,
            writer: Arc::new(Extractive),
            model: means.model()?,
            prompts: prompts(settings.prompts.as_deref())?,
            services: means.services()?,
        };
        Ok(Self { providers, limiter, tiers, warm_up_bytes: settings.cache.memory_bytes / 2, redis })
    }

    /// Brings drafts to the processes that show them, if they have a Redis in common. For the background.
    pub(crate) fn relay(&self, drafts: &DraftBoard) -> Option<impl Future<Output = ()> + Send + 'static> {
        Some(relay(drafts.clone(), self.redis.clone()?))
    }

    /// Reads what was used last into memory. For the background.
    pub(crate) fn warm_up(&self) -> impl Future<Output = ()> + Send + 'static {
        let (tiers, bytes) = (self.tiers.clone(), self.warm_up_bytes);
        async move {
            tiers.warm_up(&NAMESPACES, bytes).await;
        }
    }
}

/// Memory, then Redis, then the store, as far as they are there.
fn tiers(settings: &Settings, store: Option<Arc<dyn Cache>>, redis: Option<RedisServer>) -> Tiers {
    let mut tiers: Vec<Arc<dyn Cache>> = vec![Arc::new(MemoryCache::new(settings.cache.memory_bytes))];
    if let Some(server) = redis {
        tiers.push(Arc::new(RedisCache::new(server)));
    }
    tiers.extend(store);
    Tiers::new(tiers)
}

/// The prompt that comes with the binary, and those of the folder.
fn prompts(folder: Option<&Path>) -> anyhow::Result<BTreeMap<String, Template>> {
    let article = Template::article()?;
    let mut prompts = BTreeMap::from([(article.reference().name.clone(), article)]);
    let Some(folder) = folder else { return Ok(prompts) };
    let listed =
        fs::read_dir(folder).with_context(|| format!("prompts: cannot read {}", folder.display()))?;
    for entry in listed {
        let path = entry.with_context(|| format!("prompts: cannot read {}", folder.display()))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".md")) else {
            continue;
        };
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read the prompt {}", path.display()))?;
        let template =
            Template::parse(name, &text).with_context(|| format!("{} is no prompt", path.display()))?;
        prompts.insert(name.to_owned(), template);
    }
    Ok(prompts)
}

impl Means<'_> {
    fn guard(&self, name: &str, limits: Limits) -> Guard {
        Guard::new(name, limits, self.limiter.clone(), self.metrics.clone())
    }

    fn searches(&self) -> anyhow::Result<BTreeMap<String, Arc<dyn Search>>> {
        let index = self.settings.data_dir.join("index");
        let corpus: Arc<dyn Search> = match &self.settings.corpus {
            Some(folder) => Arc::new(Corpus::folder(folder, &index)),
            None => Arc::new(Corpus::embedded(&index)),
        };
        let mut searches = BTreeMap::from([(CORPUS.to_owned(), corpus)]);
        for (name, search) in &self.settings.search {
            let made = self.search(name, search).with_context(|| format!("search.{name}"))?;
            searches.insert(name.clone(), made);
        }
        Ok(searches)
    }

    fn search(&self, name: &str, search: &SearchSettings) -> anyhow::Result<Arc<dyn Search>> {
        let name_of = name.to_owned();
        let (made, scope, default_concurrency): (Arc<dyn Search>, String, u32) = match search.kind(name) {
            Some(SearchKind::Wikipedia) => {
                let contact = self.settings.fetch.contact.clone();
                let contact = contact.context(
                    "Wikipedia wants to know whom to reach: set fetch.contact to an address or a URL",
                )?;
                let mut config = WikipediaConfig { name: name_of, ..WikipediaConfig::new(contact) };
                config.base_url = search.url.clone();
                if let Some(language) = &search.language {
                    config.language.clone_from(language);
                }
                let made = Wikipedia::new(config)?;
                let scope = made.scope();
                (Arc::new(made), scope, 1)
            }
            Some(SearchKind::Searxng) => {
                let url = search.url.as_deref().context("no url")?;
                let mut config =
                    SearxngConfig { name: name_of, base_url: url.to_owned(), ..SearxngConfig::default() };
                if let Some(language) = &search.language {
                    config.language.clone_from(language);
                }
                let made = Searxng::new(config)?;
                let scope = made.scope();
                (Arc::new(made), scope, 10)
            }
            Some(SearchKind::Brave) => {
                let key = search.key.clone().context("no key")?.0;
                let mut config =
                    BraveConfig { name: name_of, language: search.language.clone(), ..BraveConfig::new(key) };
                if let Some(url) = &search.url {
                    config.base_url.clone_from(url);
                }
                let made = Brave::new(config)?;
                let scope = made.scope();
                (Arc::new(made), scope, 10)
            }
            None => anyhow::bail!("kind: expected wikipedia, searxng or brave"),
        };
        let concurrency = search.concurrency.unwrap_or(default_concurrency) as usize;
        let rate = rate(search.rate, search.burst)?;
        let guard = self.guard(name, Limits { concurrency, rate, ..Limits::search() });
        let guarded = Arc::new(GuardedSearch::new(made, guard));
        Ok(Arc::new(CachedSearch::new(guarded, scope, self.answers.clone())))
    }

    fn fetch(&self) -> anyhow::Result<Arc<dyn Fetch>> {
        let settings = &self.settings.fetch;
        let fetcher = WebFetcher::new(settings.config()).context("fetch")?;
        let scope = fetcher.scope();
        let limits = Limits {
            concurrency: settings.concurrency as usize,
            concurrency_per_host: settings.per_host as usize,
            ..Limits::fetch()
        };
        let guarded = Arc::new(GuardedFetch::new(Arc::new(fetcher), self.guard("fetch", limits)));
        Ok(Arc::new(CachedFetch::new(guarded, scope, self.answers.clone())))
    }

    fn model(&self) -> anyhow::Result<Option<Arc<dyn LanguageModel>>> {
        if self.settings.models.is_empty() {
            return Ok(None);
        }
        let endpoints = self.settings.models.iter().map(|(name, model)| endpoint(name, model));
        let endpoints: Vec<EndpointConfig> = endpoints.collect::<anyhow::Result<_>>()?;
        let asked = endpoints.iter().map(|endpoint| format!("{} {}", endpoint.base_url, endpoint.model));
        let scope = asked.collect::<Vec<_>>().join("\n");
        let balancer =
            Balancer::new(endpoints, self.prices(), &self.limiter, &self.metrics).context("models")?;
        let temperatures =
            if self.settings.cache.warm_completions { Temperatures::Any } else { Temperatures::Zero };
        let cached = CachedModel::new(Arc::new(balancer), scope, temperatures, self.answers.clone());
        Ok(Some(Arc::new(cached)))
    }

    fn services(&self) -> anyhow::Result<BTreeMap<String, Arc<dyn RemoteStage>>> {
        let mut services: BTreeMap<String, Arc<dyn RemoteStage>> = BTreeMap::new();
        for (handler, stage) in &self.settings.stages {
            let Some(http) = &stage.http else { continue };
            let key = format!("stages.{handler}");
            let endpoint = http
                .endpoint(handler)
                .map_err(|(member, reason)| anyhow::anyhow!("{key}.http.{member}: {reason}"))?;
            // As many as the handler's bulkhead lets through.
            let slots = stage.concurrency.map_or(SERVICE_CONCURRENCY, |slots| slots as usize);
            let guard = self.guard(&key, Limits::new(slots));
            let service =
                HttpService::new(handler, endpoint, guard).with_context(|| format!("{key}.http"))?;
            services.insert(handler.clone(), Arc::new(service));
        }
        Ok(services)
    }

    fn prices(&self) -> PriceTable {
        let prices = &self.settings.prices;
        let priced = |price: &Price| Priced {
            input_micros_per_million: Price::micros(price.input),
            output_micros_per_million: Price::micros(price.output),
        };
        let models = prices.models.iter().map(|(model, price)| (model.clone(), priced(price))).collect();
        PriceTable { version: prices.version.clone(), models }
    }
}

fn endpoint(name: &str, model: &ModelSettings) -> anyhow::Result<EndpointConfig> {
    let dialect = match model.dialect() {
        Dialect::OpenAi => {
            let defaults = OpenAiOptions::default();
            Spoken::OpenAi(OpenAiOptions {
                max_tokens_field: model.max_tokens_field.clone().unwrap_or(defaults.max_tokens_field),
                send_temperature: model.send_temperature.unwrap_or(defaults.send_temperature),
            })
        }
        Dialect::Anthropic => Spoken::Anthropic,
    };
    let named = model.model.as_deref().with_context(|| format!("models.{name}.model is not set"))?;
    let defaults = EndpointConfig::new(name, dialect, model.url(), named);
    Ok(EndpointConfig {
        key: model.key.clone().map(|key| key.0),
        weight: model.weight.unwrap_or(defaults.weight),
        rate: rate(model.rate, model.burst)?,
        concurrency: model.concurrency.map_or(defaults.concurrency, |n| n as usize),
        timeouts: Timeouts {
            first_token: model.first_token_timeout.map_or(defaults.timeouts.first_token, |span| span.0),
            idle: model.idle_timeout.map_or(defaults.timeouts.idle, |span| span.0),
            ..defaults.timeouts
        },
        context_tokens: model.context_tokens.map(u64::from),
        ..defaults
    })
}

fn rate(
    rate: Option<Frequency>,
    burst: Option<u32>,
) -> anyhow::Result<Option<quillwork_app::ports::rate_limiter::Rate>> {
    Frequency::rate(rate, burst).map_err(|(member, reason)| anyhow::anyhow!("{member}: {reason}"))
}
