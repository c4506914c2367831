//! What firmware starts, where Ubuntu's packages have it, signed by the test's key.

use std::fs;

use coremax_sandbox::{Cmd, Sandbox};

use super::{pool::Pool, signing::Signing};
use crate::{
    Outcome,
    deb::{Deb, Stanza},
    failed,
};

const SHIM: &str = "usr/lib/shim";
const SIGNED: &str = "usr/lib/grub/x86_64-efi-signed";

/// Where Ubuntu's GRUB looks for its configuration, whatever disk it was started from.
const PREFIX: &str = "/EFI/ubuntu";
/// The modules in Ubuntu's signed image: nothing else can be loaded with Secure Boot on.
const MODULES: &str = "all_video boot btrfs cat chain configfile echo efifwsetup efinet ext2 fat font gettext \
    gfxmenu gfxterm gfxterm_background gzio halt help hfsplus iso9660 jpeg keystatus loadenv loopback linux ls lsefi \
    lsefimmap lsefisystab lssal memdisk minicmd normal ntfs part_apple part_msdos part_gpt password_pbkdf2 png probe \
    reboot regexp search search_fs_uuid search_fs_file search_label sleep smbios squash4 test true video xfs zfs \
    zfscrypt zfsinfo cpuid linuxefi play tpm cryptodisk gcry_rijndael gcry_rsa gcry_serpent gcry_sha1 gcry_sha256 \
    gcry_sha512 gcry_twofish luks lvm mdraid09 mdraid1x raid5rec raid6rec";
/// Shim starts nothing that does not say how new it is.
const SBAT: &str = "sbat,1,SBAT Version,sbat,1,https://shim.example/sbat\n\
    grub,5,Free Software Foundation,grub,2.06,https://grub.example/\n\
    grub.ubuntu,2,Ubuntu,grub2,2.06,https://ubuntu.example/\n";

/// Which of the two is in use is said by update-alternatives, when the package is configured.
const ALTERNATIVES: &str = "#!/bin/sh\nset -e\nif [ \"$1\" = configure ]; then\n    \
    for kind in previous:50 latest:100; do\n        \
    update-alternatives --install /usr/lib/shim/shimx64.efi.signed shimx64.efi.signed \\\n            \
    /usr/lib/shim/shimx64.efi.signed.${kind%:*} ${kind#*:}\n    done\nfi\n";

/// Debian's shim in one package; the one before it is not signed, so that it is seen when it is used.
pub(super) fn shim(pool: &mut Pool, signing: &Signing) -> Outcome {
    let debian = pool.take("shim-signed")?;
    let helpers = pool.take("shim-unsigned")?;
    pool.leave_out(&["shim-helpers-amd64-signed", "shim-signed-common"]);
    let stanza = debian
        .stanza()
        .without(&["Pre-Depends", "Built-Using"])
        .with("Depends", "grub-efi-amd64-signed | grub-efi-arm64-signed, grub2-common, mokutil");
    let mut deb = Deb::empty(&stanza);
    let image =
        debian.data.content(&format!("{SHIM}/shimx64.efi.signed")).ok_or("it has no shim")?;
    let mut put = |name: &str, image: &[u8]| deb.data.put(&format!("{SHIM}/{name}"), 0o644, image);
    put("shimx64.efi.signed.latest", &signing.sign(image)?);
    put("shimx64.efi.signed.previous", &signing.bare(image)?);
    for name in ["mmx64.efi", "fbx64.efi"] {
        let image = helpers.data.content(&format!("{SHIM}/{name}")).ok_or("it has no helpers")?;
        put(name, &signing.sign(image)?);
    }
    deb.control.put("postinst", 0o755, ALTERNATIVES.as_bytes());
    pool.put(deb);
    Ok(())
}

/// A GRUB of the host's modules with Ubuntu's prefix.
pub(super) fn grub(pool: &mut Pool, signing: &Signing) -> Outcome {
    let stanza: Stanza = pool.take("grub-efi-amd64-signed")?.stanza();
    let mut deb = Deb::empty(&stanza.without(&["Protected"]));
    let work = tempfile::tempdir().map_err(|e| e.to_string())?;
    let [image, sbat] = ["grub.efi", "sbat.csv"].map(|name| work.path().join(name));
    fs::write(&sbat, SBAT).map_err(|e| e.to_string())?;
    let made = Cmd::new("grub-mkimage", &Sandbox::host())
        .args(["--format", "x86_64-efi", "--prefix", PREFIX, "--sbat"])
        .arg(&sbat)
        .arg("--output")
        .arg(&image)
        .args(MODULES.split_whitespace())
        .run();
    made.map_err(|error| failed(&error, "grub-common and grub-efi-amd64-bin"))?;
    let image = fs::read(&image).map_err(|e| e.to_string())?;
    deb.data.put(&format!("{SIGNED}/grubx64.efi.signed"), 0o644, &signing.sign(&image)?);
    pool.put(deb);
    Ok(())
}
