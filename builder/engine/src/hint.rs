//! What the user can do about an error, from whichever crate it came.

use anyhow::Error;

/// The hint of the innermost cause that has one.
pub fn hint(error: &Error) -> Option<String> {
    error.chain().rev().find_map(|cause| {
        None.or_else(|| cause.downcast_ref::<coremax_archive::Error>()?.hint())
            .or_else(|| cause.downcast_ref::<coremax_archive::Unsolvable>()?.hint())
            .or_else(|| cause.downcast_ref::<coremax_disk::Error>()?.hint())
            .or_else(|| cause.downcast_ref::<coremax_fetch::Error>()?.hint())
            .or_else(|| cause.downcast_ref::<coremax_machine::Error>()?.hint())
            .or_else(|| cause.downcast_ref::<coremax_publish::Error>()?.hint())
            .or_else(|| cause.downcast_ref::<coremax_recipe::Error>()?.hint())
            .or_else(|| cause.downcast_ref::<coremax_rootfs::Error>()?.hint())
            .or_else(|| cause.downcast_ref::<coremax_sandbox::Error>()?.hint())
            .or_else(|| full_disk(cause.downcast_ref::<std::io::Error>()?))
    })
}

fn full_disk(error: &std::io::Error) -> Option<String> {
    (error.kind() == std::io::ErrorKind::StorageFull).then(|| {
        "free some space, or keep the cache elsewhere with --cache; a build goes on where it \
         stopped"
            .to_owned()
    })
}
