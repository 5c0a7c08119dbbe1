package tenant

import "bytes"

// brandSize is how much of an ELF file tells which system it is for, in bytes:
// e_ident, elf(5).
const brandSize = 16

// unbranded tells whether the beginning of a file is that of an ELF file that
// names no system: EI_OSABI is ELFOSABI_NONE.
func unbranded(head []byte) bool {
	return len(head) >= brandSize && bytes.HasPrefix(head, []byte("\x7fELF")) && head[7] == 0
}

// whyUnbranded tells what a program that names no system may need, where the
// Linuxulator is loaded and where it is not.
func whyUnbranded(linuxulator bool) string {
	if !linuxulator {
		return "the kernel does not know the system it is for; programs for Linux need the Linuxulator: service linux onestart"
	}
	return "the kernel does not know the system it is for; static programs for Linux need: sysctl kern.elf64.fallback_brand=3 (service linux onestart does it)"
}
