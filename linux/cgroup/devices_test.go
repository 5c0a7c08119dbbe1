package cgroup

import (
	"encoding/binary"
	"testing"
)

func TestDeviceNames(t *testing.T) {
	for want, d := range map[string]Device{
		"c 1:3":   {Major: 1, Minor: 3},
		"c 136:*": {Major: 136, Minor: AnyMinor},
		"b 8:0":   {Block: true, Major: 8},
	} {
		if got := d.String(); got != want {
			t.Errorf("%+v: %s, want %s", d, got, want)
		}
	}
}

// The program is run by a machine as small as it is.
func TestDeviceProgram(t *testing.T) {
	list := Devices{{Major: 1, Minor: 3}, {Major: 136, Minor: AnyMinor}, {Block: true, Major: 7, Minor: 1}, {Major: 4095, Minor: 1<<20 - 1}}
	const read, write, mknod = 2, 4, 1
	for _, tt := range []struct {
		access, kind, major, minor uint32
		want                       uint64
	}{
		{read, charDevice, 1, 3, 1},
		{read | write, charDevice, 1, 3, 1},
		{mknod, charDevice, 1, 3, 1},
		{read, blockDevice, 1, 3, 0},
		{read, charDevice, 1, 4, 0},
		{read, charDevice, 3, 1, 0},
		{read, charDevice, 136, 0, 1},
		{read, charDevice, 136, 1 << 19, 1},
		{read, blockDevice, 136, 0, 0},
		{write, blockDevice, 7, 1, 1},
		{write, charDevice, 7, 1, 0},
		{read, charDevice, 4095, 1<<20 - 1, 1},
		{mknod, blockDevice, 8, 0, 0},
	} {
		if got := execute(t, list.program(), tt.access<<16|tt.kind, tt.major, tt.minor); got != tt.want {
			t.Errorf("%+v: %d", tt, got)
		}
	}
	if got := execute(t, Devices(nil).program(), read<<16|charDevice, 1, 3); got != 0 {
		t.Errorf("of no devices: %d", got)
	}
	if n := binary.Size(instruction{}); n != 8 {
		t.Errorf("an instruction of %d bytes", n)
	}
}

// execute runs a program of the instructions that programs here are made of.
func execute(t *testing.T, p []instruction, question ...uint32) uint64 {
	t.Helper()
	var r [16]uint64
	for at := 0; at < len(p); at++ {
		i := p[at]
		to, from := i.registers&15, i.registers>>4
		switch i.op {
		case opLoad:
			if from != regQuestion {
				t.Fatalf("instruction %d reads somewhere: %+v", at, i)
			}
			r[to] = uint64(question[i.offset/4])
		case opAnd:
			r[to] = uint64(uint32(r[to]) & uint32(i.immediate))
		case opSet:
			r[to] = uint64(int64(i.immediate))
		case opJumpUnequal:
			if r[to] != uint64(int64(i.immediate)) {
				at += int(i.offset)
			}
		case opExit:
			return r[regResult]
		default:
			t.Fatalf("instruction %d: %+v", at, i)
		}
	}
	t.Fatal("the program has no end")
	return 0
}
