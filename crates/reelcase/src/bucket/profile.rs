//! Who asks, as AWS's own tools keep it in `~/.aws`: `credentials` and `config`, by the name of a profile.

use std::collections::BTreeMap;
use std::path::PathBuf;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

/// The settings of one profile.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Profile(BTreeMap<String, String>);

/// What a setting of theirs is called here. One that the environment has counts for more.
const SETTINGS: [(&str, AmazonS3ConfigKey); 5] = [
    ("aws_access_key_id", AmazonS3ConfigKey::AccessKeyId),
    ("aws_secret_access_key", AmazonS3ConfigKey::SecretAccessKey),
    ("aws_session_token", AmazonS3ConfigKey::Token),
    ("region", AmazonS3ConfigKey::Region),
    ("endpoint_url", AmazonS3ConfigKey::Endpoint),
];

/// Reads the profile that `AWS_PROFILE` names, or `default`.
pub(super) fn read() -> Option<Profile> {
    let name = std::env::var("AWS_PROFILE").unwrap_or_else(|_| "default".to_owned());
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let file = |variable: &str, name: &str| {
        let path = std::env::var_os(variable).map_or_else(|| home.join(".aws").join(name), PathBuf::from);
        std::fs::read_to_string(path).unwrap_or_default()
    };
    let mut settings = section(&file("AWS_CONFIG_FILE", "config"), &name);
    settings.extend(section(&file("AWS_SHARED_CREDENTIALS_FILE", "credentials"), &name));
    (!settings.is_empty()).then_some(Profile(settings))
}

impl Profile {
    pub(super) fn apply(self, builder: AmazonS3Builder) -> AmazonS3Builder {
        SETTINGS.into_iter().fold(builder, |builder, (name, key)| match self.0.get(name) {
            Some(value) if builder.get_config_value(&key).is_none() => builder.with_config(key, value),
            _ => builder,
        })
    }
}

/// The settings of one section. In `config` all but `default` are called `profile NAME`.
fn section(text: &str, name: &str) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    let mut is_in = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(head) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            let head = head.trim();
            is_in = head == name || head.strip_prefix("profile").map(str::trim) == Some(name);
        } else if is_in && let Some((key, value)) = line.split_once('=') {
            settings.insert(key.trim().to_owned(), value.trim().to_owned());
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_its_own_section_in_both_files() {
        let config = "[default]\nregion = us-east-1\n# no\n[profile work]\nregion=eu-central-1 \n";
        assert_eq!(section(config, "work"), BTreeMap::from([("region".to_owned(), "eu-central-1".to_owned())]));
        assert_eq!(section(config, "default")["region"], "us-east-1");
        let credentials = "[work]\naws_access_key_id = AK\naws_secret_access_key = a=b/c\n[other]\nregion = x";
        assert_eq!(section(credentials, "work")["aws_secret_access_key"], "a=b/c");
        assert_eq!(section(credentials, "none"), BTreeMap::new());
    }
}
