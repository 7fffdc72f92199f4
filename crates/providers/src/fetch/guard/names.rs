//! Resolves the names of hosts, and lets out only what may be reached.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::fetch::guard::Reach;
use crate::fetch::guard::public::is_public;

/// Finds the addresses of a host.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Finds hosts as other programs on this machine do.
pub fn system_lookup() -> Lookup {
    Arc::new(|host| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// Resolves names for a client. The client connects to what it is given here, and to nothing else.
#[derive(Clone)]
pub(in crate::fetch) struct Names {
    pub(in crate::fetch) lookup: Lookup,
    pub(in crate::fetch) reach: Reach,
}

/// A name that leads, at least in part, to where it must not. Does not say where.
#[derive(Debug, thiserror::Error)]
#[error("the name does not lead to public addresses only")]
pub(in crate::fetch) struct NotPublic;

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let found = (self.lookup)(name.as_str().to_owned());
        let reach = self.reach;
        Box::pin(async move {
            let found = found.await?;
            match reach {
                Reach::Public if !found.iter().copied().all(is_public) => return Err(NotPublic.into()),
                Reach::Public | Reach::Allowed => {}
            }
            // The port is the client's.
            Ok(Box::new(found.into_iter().map(|ip| SocketAddr::new(ip, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers the n-th question with the n-th line.
    fn changing(answers: &'static [&'static [&'static str]]) -> (Lookup, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let lookup: Lookup = Arc::new(move |_| {
            let n = count.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move { Ok(answers[n].iter().map(|ip| ip.parse().unwrap()).collect()) })
        });
        (lookup, asked)
    }

    async fn resolve(names: &Names) -> Result<Vec<String>, bool> {
        match names.resolve("rebind.example".parse().unwrap()).await {
            Ok(addresses) => Ok(addresses.map(|address| address.ip().to_string()).collect()),
            Err(error) => Err(error.is::<NotPublic>()),
        }
    }

    #[tokio::test]
    async fn a_name_that_changes_its_mind_is_checked_each_time() {
        let answers: &[&[&str]] = &[
            &["8.8.8.8", "2606:4700::1"],
            &["127.0.0.1"],
            &["8.8.8.8", "10.0.0.1"],
            &["::ffff:10.0.0.1"],
            &[],
            &["1.1.1.1"],
        ];
        let (lookup, asked) = changing(answers);
        let names = Names { lookup, reach: Reach::Public };
        let expected = [
            Ok(vec!["8.8.8.8".to_owned(), "2606:4700::1".to_owned()]),
            Err(true),
            Err(true),
            Err(true),
            Ok(vec![]),
            Ok(vec!["1.1.1.1".to_owned()]),
        ];
        for (n, expected) in expected.into_iter().enumerate() {
            assert_eq!(resolve(&names).await, expected, "{n}");
            assert_eq!(asked.load(Ordering::SeqCst), n + 1, "what is checked is what is handed out");
        }
    }

    #[tokio::test]
    async fn a_host_of_the_operator_may_be_anywhere() {
        let (lookup, _) = changing(&[&["10.0.0.1", "::1"]]);
        let names = Names { lookup, reach: Reach::Allowed };
        assert_eq!(resolve(&names).await, Ok(vec!["10.0.0.1".to_owned(), "::1".to_owned()]));
    }
}
