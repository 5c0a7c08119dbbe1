package engine_test

import (
	"encoding/binary"
	"slices"
)

// Brands of ELF programs, EI_OSABI: sys/sys/elf_common.h.
const (
	brandNone  = 0 // names no system, as static programs for Linux mostly do
	brandLinux = 3
)

// System calls of Linux on amd64, and what they are given.
const (
	linuxRead, linuxWrite, linuxOpen, linuxMmap, linuxExit, linuxReadlink, linuxUnlink, linuxStatfs = 0, 1, 2, 9, 60, 89, 87, 137

	linuxReadWriteNew = 0o302 // O_RDWR, O_CREAT, O_EXCL
)

// register is one of amd64. The program keeps results in those that a system call
// leaves alone.
type register byte

const (
	buffer register = 4  // rsp: 4 KiB of the stack
	file   register = 12 // r12: the last one opened
	count  register = 13 // r13: what was read
	mapped register = 14 // r14: where the file is in memory
)

// arguments are the registers of the arguments of a system call: rdi, rsi, rdx, r10,
// r8, r9.
var arguments = [...]register{7, 6, 2, 10, 8, 9}

// assembly is a program for Linux on amd64 in the making. Its texts follow the code.
type assembly struct {
	code  []byte
	texts []byte
	refs  []int // where in the code an address of a text is, relative to the first one
}

// load puts a number into a register: mov r64, imm64.
func (a *assembly) load(r register, v uint64) {
	a.code = append(a.code, 0x48|byte(r>>3), 0xb8|byte(r&7))
	a.code = binary.LittleEndian.AppendUint64(a.code, v)
}

// move copies a register: mov r64, r64.
func (a *assembly) move(to, from register) {
	a.code = append(a.code, 0x48|byte(from>>3)<<2|byte(to>>3), 0x89, 0xc0|byte(from&7)<<3|byte(to&7))
}

// call does a system call with numbers, texts and registers, and keeps its result.
func (a *assembly) call(result register, number int, args ...any) {
	for i, arg := range args {
		switch v := arg.(type) {
		case int:
			a.load(arguments[i], uint64(v))
		case register:
			a.move(arguments[i], v)
		case string:
			a.refs = append(a.refs, len(a.code)+2)
			a.load(arguments[i], uint64(len(a.texts)))
			a.texts = append(append(a.texts, v...), 0)
		}
	}
	const rax = 0
	a.load(rax, uint64(number))
	a.code = append(a.code, 0x0f, 0x05)
	a.move(result, rax)
}

func (a *assembly) print(text string) { a.call(count, linuxWrite, 1, text, len(text)) }

// cat writes what a file has.
func (a *assembly) cat(path string) {
	a.call(file, linuxOpen, path, 0)
	a.call(count, linuxRead, file, buffer, 4096)
	a.call(count, linuxWrite, 1, buffer, count)
}

// fileSystem writes the type of the file system that a path is in: the first 8 bytes
// of a struct statfs.
func (a *assembly) fileSystem(path string) {
	a.call(count, linuxStatfs, path, buffer)
	a.call(count, linuxWrite, 1, buffer, 8)
}

// program is a static ELF executable of a brand.
func (a *assembly) program(brand byte) []byte {
	const base, headers = 0x400000, 64 + 56
	le := binary.LittleEndian
	code := slices.Concat([]byte{0x48, 0x81, 0xec, 0, 0x10, 0, 0}, a.code) // sub rsp, 4096: the buffer
	for _, at := range a.refs {
		b := code[at+7:]
		le.PutUint64(b, le.Uint64(b)+base+headers+uint64(len(code)))
	}
	size := uint64(headers + len(code) + len(a.texts))
	b := append([]byte("\x7fELF\x02\x01\x01"), brand) // 64 bits, little-endian
	b = append(b, make([]byte, 8)...)
	b = le.AppendUint16(b, 2)  // ET_EXEC
	b = le.AppendUint16(b, 62) // EM_X86_64
	b = le.AppendUint32(b, 1)
	for _, v := range []uint64{base + headers, 64, 0} { // entry, program headers, section headers
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, 0)
	for _, v := range []uint16{64, 56, 1, 64, 0, 0} {
		b = le.AppendUint16(b, v)
	}
	b = le.AppendUint32(b, 1) // PT_LOAD
	b = le.AppendUint32(b, 5) // readable, executable
	for _, v := range []uint64{0, base, base, size, size, 0x1000} {
		b = le.AppendUint64(b, v)
	}
	return slices.Concat(b, code, a.texts)
}

// linuxHello is a program that writes a line and exits with 7.
func linuxHello(brand byte) []byte {
	var a assembly
	a.print("a Linux program\n")
	a.call(count, linuxExit, 7)
	return a.program(brand)
}

// linuxLook is a program that looks at what programs for Linux are promised, and
// exits with 7: the type of /dev/shm (linprocfs and linsysfs tell none, linux_stats.c);
// what /proc has of the kernel and of the program itself; the processors in /sys; and
// memory that is shared by a file in /dev/shm, as shm_open(3) and mmap(2) do it.
func linuxLook() []byte {
	var a assembly
	a.fileSystem("/dev/shm")
	a.cat("/proc/sys/kernel/ostype")
	a.call(count, linuxReadlink, "/proc/self/exe", buffer, 4096)
	a.call(count, linuxWrite, 1, buffer, count)
	a.print("\n")
	a.cat("/sys/devices/system/cpu/possible")
	a.call(file, linuxOpen, "/dev/shm/memory", linuxReadWriteNew, 0o600)
	a.call(count, linuxWrite, file, "shared\n", 7)
	a.call(mapped, linuxMmap, 0, 7, 1, 1, file, 0) // PROT_READ, MAP_SHARED
	a.call(count, linuxWrite, 1, mapped, 7)
	a.call(count, linuxUnlink, "/dev/shm/memory")
	a.call(file, linuxOpen, "/dev/shm/memory", 0) // not there: reads nothing
	a.call(count, linuxRead, file, buffer, 4096)
	a.call(count, linuxExit, 7)
	return a.program(brandLinux)
}
