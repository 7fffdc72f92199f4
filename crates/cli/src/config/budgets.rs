//! How much may be spent.

use std::collections::BTreeMap;

use quillwork_app::budgets::DayLimits;
use quillwork_domain::job::Budget;
use quillwork_domain::money::Usd;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount in US dollars as people write it: `"25.00"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String", extend("pattern" = "^[0-9]{1,7}([.][0-9]{1,6})?$", "examples" = ["0.50", "25.00"]))]
pub(crate) struct Amount(pub(crate) Usd);

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)
            .map_err(|_| D::Error::custom("expected US dollars in quotes, such as \"25.00\""))?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// How much may be spent, in US dollars.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BudgetSettings {
    /// What a job may cost that does not say it; absent for no limit. Written into the job when it is submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<Amount>,
    /// What each tenant may spend in a day, in UTC; absent for no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant_day: Option<Amount>,
    /// By tenant: what it may spend in a day, in the place of `tenant_day`.
    pub(crate) tenants: BTreeMap<String, Amount>,
}

impl BudgetSettings {
    pub(crate) fn are_set(&self) -> bool {
        self.job.is_some() || self.tenant_day.is_some() || !self.tenants.is_empty()
    }

    pub(crate) fn of_a_job(&self) -> Option<Budget> {
        self.job.map(|Amount(Usd(max_cost_micros))| Budget { max_cost_micros })
    }

    pub(crate) fn of_a_day(&self) -> DayLimits {
        let by_tenant = self.tenants.iter().map(|(tenant, amount)| (tenant.clone(), amount.0));
        DayLimits { default: self.tenant_day.map(|amount| amount.0), by_tenant: by_tenant.collect() }
    }
}
