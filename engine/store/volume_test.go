package store

import (
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"
)

func TestVolumes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "xc.sqlite")
	s, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, made := t.Context(), time.Unix(12, 34).UTC()
	for _, name := range []string{"b", "a"} {
		v := Volume{Name: name, Created: made, Spec: json.RawMessage(`{"driver":"zfs"}`)}
		if err := s.CreateVolume(ctx, v); err != nil {
			t.Fatal(err)
		}
		if err := s.CreateVolume(ctx, v); !errors.Is(err, fs.ErrExist) {
			t.Errorf("twice: %v", err)
		}
	}
	if err := s.UpdateVolume(ctx, "a", json.RawMessage(`{"fresh":true}`)); err != nil {
		t.Error(err)
	}
	if err := s.UpdateVolume(ctx, "c", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing one: %v", err)
	}
	for range 2 {
		if err := s.RemoveVolume(ctx, "b"); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	list, err := s.Volumes(ctx)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if v := list[0]; v.Name != "a" || !v.Created.Equal(made) || string(v.Spec) != `{"driver":"zfs"}` || string(v.State) != `{"fresh":true}` {
		t.Errorf("%+v", v)
	}
}
