//! Makes stores of the crate `object_store` from URLs.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreScheme, RetryConfig};
use rustls::crypto::{CryptoProvider, ring};
use url::{Position, Url};

/// The prefixes of environment variables that are options of a store, as in the vendors' own tools.
const OPTION_PREFIXES: [&str; 3] = ["AWS_", "AZURE_", "GOOGLE_"];

macro_rules! store {
    ($builder:ty, $url:expr, $retry:expr) => {{
        let mut builder = <$builder>::new()
            .with_url($url.to_string())
            .with_retry($retry);
        for (name, value) in options($url.starts_with("http:")) {
            // Others are options of other stores.
            if let Ok(key) = name.to_ascii_lowercase().parse() {
                builder = builder.with_config(key, value);
            }
        }
        Arc::new(builder.build()?)
    }};
}

/// Returns the store of a URL, configured by the environment, and the path of the object in it.
pub(super) fn build(url: &Url, retry: RetryConfig) -> Result<(Arc<dyn ObjectStore>, Path), Error> {
    if CryptoProvider::get_default().is_none() {
        // Fails if another thread has installed a provider meanwhile, which serves as well.
        let _ = ring::default_provider().install_default();
    }
    let (scheme, path) = ObjectStoreScheme::parse(url)?;
    let path = Path::parse(path)?;
    let text = url.as_str();
    let store: Arc<dyn ObjectStore> = match scheme {
        ObjectStoreScheme::AmazonS3 => store!(AmazonS3Builder, text, retry),
        ObjectStoreScheme::GoogleCloudStorage => store!(GoogleCloudStorageBuilder, text, retry),
        ObjectStoreScheme::MicrosoftAzure => store!(MicrosoftAzureBuilder, text, retry),
        ObjectStoreScheme::Http => store!(HttpBuilder, &url[..Position::BeforePath], retry),
        _ => {
            return Err(Error::NotSupported {
                source: format!("there is no store for {}://", url.scheme()).into(),
            });
        }
    };
    Ok((store, path))
}

/// Returns the variables of the environment that may be options.
fn options(allows_http: bool) -> impl Iterator<Item = (String, String)> {
    let variables = std::env::vars_os();
    let variables = variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let options = variables.filter(|(name, _)| {
        OPTION_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
    });
    let http = ("allow_http".to_owned(), "true".to_owned());
    options.chain(allows_http.then_some(http))
}
