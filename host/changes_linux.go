package host

import "context"

func (h *Host) changes(_ context.Context, s Spec, _ bool, use func(Changes) error) error {
	c, err := dirChanges(h.dirs, s.ID)
	if err != nil {
		return err
	}
	return use(c)
}
