package kqueue

import (
	"encoding/binary"
	"reflect"
	"syscall"
	"testing"
)

func TestDecodeMembers(t *testing.T) {
	raw := func(pid, root int32, flags uint32) []byte {
		b := make([]byte, memberSize)
		binary.NativeEndian.PutUint32(b, uint32(pid))
		binary.NativeEndian.PutUint32(b[4:], uint32(root))
		binary.NativeEndian.PutUint32(b[8:], flags)
		return b
	}
	b := append(raw(10, 9, memberValid|memberZombie), raw(0, 0, 0)...)
	b = append(b, raw(99999, 9, memberValid|memberChild)...)
	b = append(b, 1, 2, 3) // a stump
	want := []member{{10, 9, memberValid | memberZombie}, {99999, 9, memberValid | memberChild}}
	if got := decodeMembers(b); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestDescend(t *testing.T) {
	lists := map[int][]member{
		20: {{pid: 30, root: 30, flags: memberChild | memberReaper}, {pid: 31, root: 30}},
		30: {{pid: 40, root: 40, flags: memberChild}},
		50: {{pid: 10, root: 10}, {pid: 20, root: 10}}, // no reaper any more: the list of its reaper
	}
	top := []member{
		{pid: 10, root: 10, flags: memberChild},
		{pid: 20, root: 10, flags: memberReaper},
		{pid: 50, root: 50, flags: memberReaper},
		{pid: 60, root: 60, flags: memberReaper},                // just gone
		{pid: 70, root: 70, flags: memberReaper | memberZombie}, // not to be asked
	}
	got := map[int]int{}
	for _, m := range descend(top, func(pid int) ([]member, error) {
		if pid == 70 {
			t.Error("a zombie was asked")
		}
		if l, ok := lists[pid]; ok {
			return l, nil
		}
		return nil, syscall.ESRCH
	}) {
		got[m.pid] = m.root
		if m.pid >= 30 && m.pid <= 40 && m.flags&memberChild != 0 {
			t.Errorf("%d is called a child of ours", m.pid)
		}
	}
	want := map[int]int{10: 10, 20: 10, 50: 50, 60: 60, 70: 70, 30: 10, 31: 10, 40: 10}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("roots %v, want %v", got, want)
	}
}
