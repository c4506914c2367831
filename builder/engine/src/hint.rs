//! What the user can do about an error, from whichever crate it came.

use std::io::{self, ErrorKind};

use anyhow::Error;

/// The hint of the innermost cause that has one. What the operating system said comes last: those who
/// called it know better what it means.
pub fn hint(error: &Error) -> Option<String> {
    error.chain().rev().find_map(of_domain).or_else(|| of_system(error))
}

/// An error that the user can mend by doing what `hint` says.
pub(crate) fn mendable(text: String, hint: String) -> Error {
    Mendable { text, hint }.into()
}

#[derive(Debug)]
struct Mendable {
    text: String,
    hint: String,
}

impl std::fmt::Display for Mendable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Mendable {}

fn of_domain(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    None.or_else(|| cause.downcast_ref::<crate::verify::BootFailed>()?.hint.clone())
        .or_else(|| Some(cause.downcast_ref::<Mendable>()?.hint.clone()))
        .or_else(|| Some(cause.downcast_ref::<crate::locked::Malformed>()?.hint()))
        .or_else(|| cause.downcast_ref::<coremax_archive::Error>()?.hint())
        .or_else(|| cause.downcast_ref::<coremax_archive::Unsolvable>()?.hint())
        .or_else(|| cause.downcast_ref::<coremax_disk::Error>()?.hint())
        .or_else(|| cause.downcast_ref::<coremax_fetch::Error>()?.hint())
        .or_else(|| cause.downcast_ref::<coremax_machine::Error>()?.hint())
        .or_else(|| cause.downcast_ref::<coremax_node_api::update::key::NotAKey>()?.hint())
        .or_else(|| cause.downcast_ref::<coremax_publish::Error>()?.hint())
        .or_else(|| cause.downcast_ref::<coremax_recipe::Mistakes>()?.hint())
        .or_else(|| cause.downcast_ref::<coremax_rootfs::Error>()?.hint())
        .or_else(|| cause.downcast_ref::<coremax_sandbox::Error>()?.hint())
        .or_else(|| cause.downcast_ref::<coremax_secure_boot::Error>()?.hint())
}

fn of_system(error: &Error) -> Option<String> {
    let kinds = error.chain().filter_map(|cause| Some(cause.downcast_ref::<io::Error>()?.kind()));
    // Programs that a step runs only say it in words.
    let said = format!("{error:#}").contains("No space left on device");
    let kind = said.then_some(ErrorKind::StorageFull).or_else(|| kinds.last())?;
    let hint = match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            "free some space (coremax clean --limit SIZE takes finished steps), or keep the cache elsewhere with --cache; a build goes on where it \
             stopped"
        }
        ErrorKind::ReadOnlyFilesystem => {
            "make it writable, or keep the cache elsewhere with --cache and results with --output"
        }
        ErrorKind::PermissionDenied => {
            "see who owns it: what a build with sudo left in a cache is root's, and --cache names another"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn the_system_s_words_are_understood() {
        let because =
            |kind: ErrorKind| Err::<(), _>(io::Error::from(kind)).context("writing").unwrap_err();
        let program = anyhow::anyhow!("mke2fs ended with 1, and said:\nNo space left on device");
        for (error, want) in [
            (because(ErrorKind::StorageFull), "free some space"),
            (program, "free some space"),
            (because(ErrorKind::ReadOnlyFilesystem), "writable"),
            (because(ErrorKind::PermissionDenied), "who owns it"),
        ] {
            assert!(hint(&error).unwrap().contains(want), "{error:#}");
        }
        assert!(hint(&because(ErrorKind::NotFound)).is_none());
    }

    /// The kernel says ENOSPC where it allows no more namespaces; that is no full disk.
    #[test]
    fn a_crate_s_own_hint_comes_first() {
        let source = io::Error::from(ErrorKind::StorageFull);
        let remedy = Some("sudo sysctl".to_owned());
        let error =
            coremax_sandbox::Error::Namespace { operation: "unshare".into(), remedy, source };
        assert_eq!(hint(&error.into()).unwrap(), "sudo sysctl");
    }
}
