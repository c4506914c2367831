//! The document where OpenStack has what whoever made a server says to it: Nova's guide, "Metadata", and the same files on
//! a config drive.
//!
//! | file | the document is |
//! |---|---|
//! | [`META_DATA`] | the value of [`META_KEY`] in `meta`: `openstack server create --property coremax-identity="$(cat FILE)"` |
//! | [`USER_DATA`] | the file: `openstack server create --user-data FILE` |
//!
//! Both are said for one server by who makes it. Vendor data are the cloud's, the same for all its tenants. User data are
//! shown to administrators alone, and the values of `meta`, of 255 bytes at most, to everybody in the project.

use serde::Deserialize;
use zeroize::Zeroizing;

use super::Malformed;

/// What Nova says of a server.
pub const META_DATA: &str = "openstack/latest/meta_data.json";
/// What its maker gave it as one file.
pub const USER_DATA: &str = "openstack/latest/user_data";
/// The name of the value in `meta`.
pub const META_KEY: &str = "coremax-identity";
/// Bytes of [`META_DATA`], at most. Set here: its 128 values have 64 kB.
pub const META_DATA_MAX: usize = 1 << 20;
/// Bytes of [`USER_DATA`], at most: Nova takes 65,535 in base64.
pub const USER_DATA_MAX: usize = 1 << 16;

/// What cloud-init knows OpenStack by, on machines with DMI: product names, which some clouds have as the chassis's asset
/// tag, and tags.
const PRODUCTS: [&str; 2] = ["OpenStack Nova", "OpenStack Compute"];
const ASSET_TAGS: [&str; 4] =
    ["HUAWEICLOUD", "OpenTelekomCloud", "SAP CCloud VM", "Samsung Cloud Platform"];

/// Whether firmware with this product name and this asset tag of the chassis is a server of OpenStack's.
pub fn is_openstack(product: &str, asset_tag: &str) -> bool {
    let (product, tag) = (product.trim(), asset_tag.trim());
    PRODUCTS.contains(&product) || PRODUCTS.contains(&tag) || ASSET_TAGS.contains(&tag)
}

/// The document's text in [`META_DATA`]; nothing where `meta` has no such value.
///
/// # Errors
/// Where it is not what Nova writes: it may have said something.
pub fn in_meta_data(bytes: &[u8]) -> Result<Option<Zeroizing<String>>, Malformed> {
    #[derive(Deserialize)]
    struct MetaData {
        #[serde(default)]
        meta: Meta,
    }
    #[derive(Default, Deserialize)]
    struct Meta {
        #[serde(rename = "coremax-identity")]
        identity: Option<String>,
    }
    let read: Result<MetaData, _> = serde_json::from_slice(bytes);
    match read {
        Ok(read) => Ok(read.meta.identity.map(Zeroizing::new)),
        Err(error) => Err(Malformed::Json { line: error.line(), column: error.column() }),
    }
}

/// Whether [`USER_DATA`] is meant as the document, whole or broken, and is no script or other configuration.
pub fn is_in_user_data(bytes: &[u8]) -> bool {
    let word = b"\"key-id\"";
    bytes.trim_ascii_start().starts_with(b"{") && bytes.windows(word.len()).any(|it| it == word)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::identity::tests::document;

    #[test]
    fn what_openstack_s_firmware_says() {
        for (product, tag, want) in [
            ("OpenStack Nova\n", "\n", true),
            ("OpenStack Compute\n", "", true),
            ("VMware Virtual Platform", "OpenStack Nova", true),
            ("HVM domU", "OpenTelekomCloud\n", true),
            ("Standard PC (Q35 + ICH9, 2009)", "Not Specified", false),
            ("PowerEdge R640", "HUAWEI", false),
            ("Not OpenStack Nova", "OpenStack", false),
            ("", "", false),
        ] {
            assert_eq!(is_openstack(product, tag), want, "{product} {tag}");
        }
    }

    #[test]
    fn a_value_of_meta() {
        let text = document(7).to_text();
        let value = serde_json::to_string(&**text).unwrap();
        for (json, want) in [
            (
                format!(r#"{{"uuid":"x","meta":{{"a":"b","{META_KEY}":{value}}},"keys":[]}}"#),
                Ok(true),
            ),
            (r#"{"uuid":"x","meta":{"a":"b"}}"#.to_owned(), Ok(false)),
            (r#"{"uuid":"x"}"#.to_owned(), Ok(false)),
            ("{}\n".to_owned(), Ok(false)),
            (format!(r#"{{"meta":{{"{META_KEY}":{{"key":"07"}}}}}}"#), Err("it is no identity")),
            ("<html>".to_owned(), Err("it is no identity: line 1")),
            (String::new(), Err("it is no identity")),
        ] {
            let found = in_meta_data(json.as_bytes());
            match (&found, want) {
                (Ok(Some(found)), Ok(true)) => assert_eq!(*found, text),
                (Ok(None), Ok(false)) => {}
                (Err(error), Err(want)) => {
                    assert!(error.to_string().starts_with(want), "{error}");
                    assert!(!error.to_string().contains("07"), "{error}");
                }
                _ => panic!("{json}: {found:?}"),
            }
        }
    }

    #[test]
    fn user_data_are_ours_or_somebody_else_s() {
        let text = document(7).to_text();
        for (data, want) in [
            (&**text, true),
            (&text[..150], true),
            ("\n {\"format\": 9, \"key-id\": 5}", true),
            ("#cloud-config\nwrite_files: [{content: '{\"key-id\": 1}'}]", false),
            ("#!/bin/sh\n", false),
            ("{\"ignition\": {\"version\": \"3.4.0\"}}", false),
            ("", false),
        ] {
            assert_eq!(is_in_user_data(data.as_bytes()), want, "{data}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (in_meta_data(&bytes), is_in_user_data(&bytes));
        }
    }
}
