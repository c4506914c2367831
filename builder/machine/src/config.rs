//! What a machine consists of, and QEMU's arguments for it.
//!
//! Every line to the outside is a Unix socket that the tester listens on and QEMU connects to
//! before the guest's first instruction, so that no byte is lost. See
//! <https://www.qemu.org/docs/master/system/invocation.html>.

use std::path::{Path, PathBuf};

use coremax_node_api::boot_test::PORT;

use crate::{Accelerator, Artefact, Format, Located};

/// A PC (q35) with one virtio disk.
#[derive(Debug, Clone)]
pub struct Config {
    /// What it starts with.
    pub firmware: Firmware,
    /// The disk; it is never written, whatever the guest does.
    pub disk: Option<(PathBuf, Format)>,
    /// A kernel that is started instead of the disk's loader.
    pub kernel: Option<Kernel>,
    /// How it is run.
    pub accelerator: Accelerator,
    /// Memory in MiB.
    pub memory: u32,
    /// Virtual CPUs.
    pub cpus: u8,
    /// What the guest reaches.
    pub network: Network,
    /// Whether a reboot is one; else it ends the machine, so that it is seen.
    pub reboots: bool,
}

/// What a machine starts with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Firmware {
    /// QEMU's own SeaBIOS.
    Bios,
    /// EDK II.
    Uefi(Located),
    /// EDK II with Secure Boot on: it starts what the keys in its variables have signed, and nothing else.
    SecureBoot(Located),
}

impl Firmware {
    /// The name for people.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Bios => "BIOS",
            Self::Uefi(_) => "UEFI",
            Self::SecureBoot(_) => "UEFI + Secure Boot",
        }
    }

    /// The files it is loaded from; SeaBIOS comes with QEMU.
    pub const fn located(&self) -> Option<&Located> {
        match self {
            Self::Bios => None,
            Self::Uefi(located) | Self::SecureBoot(located) => Some(located),
        }
    }
}

/// A kernel given directly.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The bzImage.
    pub image: PathBuf,
    /// The initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Its command line.
    pub command_line: String,
}

/// What a guest reaches over its network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// A DHCP server, and nothing else.
    Closed,
    /// The host's network; its own port 22 is this port of the host's loopback.
    Open {
        /// The host's port.
        ssh: u16,
    },
}

impl Config {
    /// A machine that boots this artefact, closed to the outside: 1024 MiB, 2 CPUs.
    pub fn new(artefact: &Artefact, firmware: Firmware, accelerator: Accelerator) -> Self {
        let disk = Some((artefact.path().to_owned(), artefact.format()));
        Self { disk, ..Self::bare(firmware, accelerator) }
    }

    /// A machine without a disk.
    pub fn bare(firmware: Firmware, accelerator: Accelerator) -> Self {
        Self {
            firmware,
            disk: None,
            kernel: None,
            accelerator,
            memory: 1024,
            cpus: 2,
            network: Network::Closed,
            reboots: false,
        }
    }

    /// QEMU's arguments. `sockets` is the folder with the tester's sockets and the copies of the
    /// firmware.
    pub fn arguments(&self, sockets: &Path) -> Vec<String> {
        let mut args = Arguments::default();
        args.words("-name coremax -no-user-config -nodefaults -display none");
        args.words(match self.firmware {
            // Its variables are written in system management mode alone, so that no guest changes its keys.
            Firmware::SecureBoot(_) => {
                "-machine q35,smm=on -global driver=cfi.pflash01,property=secure,value=on"
            }
            _ => "-machine q35",
        });
        args.words("-vga std");
        args.words(self.accelerator.arguments());
        args.pair("-smp", self.cpus.to_string());
        args.pair("-m", format!("{}M", self.memory));
        if !self.reboots {
            args.words("-no-reboot");
        }
        self.firmware_arguments(&mut args, sockets);
        line_arguments(&mut args, sockets);
        self.device_arguments(&mut args);
        self.kernel_arguments(&mut args);
        args.0
    }

    fn firmware_arguments(&self, args: &mut Arguments, folder: &Path) {
        if self.firmware.located().is_none() {
            return;
        }
        let code = escaped(&folder.join(CODE));
        let vars = escaped(&folder.join(VARS));
        args.pair("-drive", format!("if=pflash,unit=0,format=raw,readonly=on,file={code}"));
        args.pair("-drive", format!("if=pflash,unit=1,format=raw,file={vars}"));
    }

    fn device_arguments(&self, args: &mut Arguments) {
        args.words("-device virtio-rng-pci");
        let network = match self.network {
            Network::Closed => "user,id=net,restrict=on".to_owned(),
            Network::Open { ssh } => format!("user,id=net,hostfwd=tcp:127.0.0.1:{ssh}-:22"),
        };
        args.pair("-netdev", network);
        // No option ROM: nothing here boots from the network, and its package is not needed then.
        args.words("-device virtio-net-pci,netdev=net,romfile=");
        if let Some((path, format)) = &self.disk {
            let (path, format) = (escaped(path), format.name());
            args.pair(
                "-drive",
                format!("if=none,id=disk,file={path},format={format},snapshot=on,cache=unsafe"),
            );
            args.words("-device virtio-blk-pci,drive=disk,bootindex=1");
        }
    }

    fn kernel_arguments(&self, args: &mut Arguments) {
        let Some(kernel) = &self.kernel else { return };
        args.pair("-kernel", kernel.image.display().to_string());
        args.pair("-append", kernel.command_line.clone());
        if let Some(initrd) = &kernel.initrd {
            args.pair("-initrd", initrd.display().to_string());
        }
    }

    /// The files that QEMU reads, besides those in its own folder.
    pub(crate) fn inputs(&self) -> Vec<&Path> {
        let disk = self.disk.iter().map(|(path, _)| path.as_path());
        let kernel = self.kernel.iter().map(|kernel| kernel.image.as_path());
        let initrd = self.kernel.iter().filter_map(|kernel| kernel.initrd.as_deref());
        disk.chain(kernel).chain(initrd).collect()
    }
}

/// The names of the firmware's copies in a machine's folder.
pub(crate) const CODE: &str = "code.fd";
pub(crate) const VARS: &str = "vars.fd";

/// The lines between a machine and its tester; each is a socket of this name.
pub(crate) const QMP: &str = "qmp";
pub(crate) const SERIAL: &str = "serial";
pub(crate) const DEBUG: &str = "debug";
pub(crate) const NODE: &str = "node";
pub(crate) const LINES: [&str; 4] = [QMP, SERIAL, DEBUG, NODE];

fn line_arguments(args: &mut Arguments, sockets: &Path) {
    for line in LINES {
        let path = escaped(&sockets.join(line));
        args.pair("-chardev", format!("socket,id={line},path={path}"));
    }
    args.words("-mon chardev=qmp,mode=control -serial chardev:serial");
    // Where SeaBIOS, and EDK II in a debug build, say what they do.
    args.words("-device isa-debugcon,iobase=0x402,chardev=debug -device virtio-serial-pci");
    args.pair("-device", format!("virtserialport,chardev=node,name={PORT}"));
}

#[derive(Default)]
struct Arguments(Vec<String>);

impl Arguments {
    fn words(&mut self, words: &str) {
        self.0.extend(words.split(' ').map(str::to_owned));
    }

    fn pair(&mut self, name: &str, value: impl Into<String>) {
        self.0.extend([name.to_owned(), value.into()]);
    }
}

/// A path within a list of options, where a comma is written twice.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(config: &Config) -> String {
        let args = config.arguments(Path::new("/run/m"));
        args.join(" ").replace(" -", "\n-")
    }

    #[test]
    fn a_disk_by_uefi_without_kvm() {
        let located = Located { code: "c".into(), vars: "v".into(), origin: "here".into() };
        let mut config = Config::bare(Firmware::Uefi(located), Accelerator::Tcg);
        config.disk = Some(("/images/a,b.qcow2".into(), Format::Qcow2));
        insta::assert_snapshot!(shown(&config), @r"
        -name coremax
        -no-user-config
        -nodefaults
        -display none
        -machine q35
        -vga std
        -accel tcg,thread=multi
        -cpu max
        -smp 2
        -m 1024M
        -no-reboot
        -drive if=pflash,unit=0,format=raw,readonly=on,file=/run/m/code.fd
        -drive if=pflash,unit=1,format=raw,file=/run/m/vars.fd
        -chardev socket,id=qmp,path=/run/m/qmp
        -chardev socket,id=serial,path=/run/m/serial
        -chardev socket,id=debug,path=/run/m/debug
        -chardev socket,id=node,path=/run/m/node
        -mon chardev=qmp,mode=control
        -serial chardev:serial
        -device isa-debugcon,iobase=0x402,chardev=debug
        -device virtio-serial-pci
        -device virtserialport,chardev=node,name=coremax.boot-test
        -device virtio-rng-pci
        -netdev user,id=net,restrict=on
        -device virtio-net-pci,netdev=net,romfile=
        -drive if=none,id=disk,file=/images/a,,b.qcow2,format=qcow2,snapshot=on,cache=unsafe
        -device virtio-blk-pci,drive=disk,bootindex=1
        ");
    }

    #[test]
    fn secure_boot_keeps_its_variables_to_itself() {
        let located = Located { code: "c".into(), vars: "v".into(), origin: "here".into() };
        let firmware = Firmware::SecureBoot(located);
        assert_eq!(firmware.name(), "UEFI + Secure Boot");
        let shown = shown(&Config::bare(firmware, Accelerator::Tcg));
        let wanted = "-machine q35,smm=on\n-global driver=cfi.pflash01,property=secure,value=on\n";
        assert!(shown.contains(wanted) && shown.contains("vars.fd"), "{shown}");
    }

    #[test]
    fn a_kernel_by_bios_with_kvm_and_a_network() {
        let mut config = Config::bare(Firmware::Bios, Accelerator::Kvm);
        config.network = Network::Open { ssh: 2222 };
        config.reboots = true;
        config.kernel = Some(Kernel {
            image: "/k".into(),
            initrd: Some("/i".into()),
            command_line: "console=ttyS0 quiet".into(),
        });
        insta::assert_snapshot!(shown(&config), @r"
        -name coremax
        -no-user-config
        -nodefaults
        -display none
        -machine q35
        -vga std
        -accel kvm
        -cpu host
        -smp 2
        -m 1024M
        -chardev socket,id=qmp,path=/run/m/qmp
        -chardev socket,id=serial,path=/run/m/serial
        -chardev socket,id=debug,path=/run/m/debug
        -chardev socket,id=node,path=/run/m/node
        -mon chardev=qmp,mode=control
        -serial chardev:serial
        -device isa-debugcon,iobase=0x402,chardev=debug
        -device virtio-serial-pci
        -device virtserialport,chardev=node,name=coremax.boot-test
        -device virtio-rng-pci
        -netdev user,id=net,hostfwd=tcp:127.0.0.1:2222-:22
        -device virtio-net-pci,netdev=net,romfile=
        -kernel /k
        -append console=ttyS0 quiet
        -initrd /i
        ");
    }
}
