#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Makes an ISO that boots through GRUB on BIOS and UEFI machines (kernel by Multiboot2).
# usage: make-iso.sh KERNEL.elf BUNDLE OUT.iso [command line]
# Needs grub-mkrescue with grub-pc-bin and grub-efi-amd64-bin, xorriso and mtools.
set -eu

if [ $# -lt 3 ]; then
    echo "usage: $0 KERNEL.elf BUNDLE OUT.iso [command line]" >&2
    exit 2
fi
kernel=$1 bundle=$2 out=$3
shift 3
for tool in grub-mkrescue xorriso mformat; do
    command -v $tool >/dev/null || { echo "make-iso: $tool is missing" >&2; exit 1; }
done

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree/boot/grub"
# Debug information stays behind; the kernel carries its own symbol table.
objcopy --strip-all "$kernel" "$tree/boot/hallows.elf"
cp "$bundle" "$tree/boot/bundle.img"
cat >"$tree/boot/grub/grub.cfg" <<EOF
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=0
set default=0
menuentry "Hallows" {
    multiboot2 /boot/hallows.elf $*
    module2 /boot/bundle.img bundle
    boot
}
EOF
if ! grub-mkrescue -o "$out" "$tree" >"$tree.log" 2>&1; then
    cat "$tree.log" >&2
    rm -f "$tree.log"
    exit 1
fi
rm -f "$tree.log"
