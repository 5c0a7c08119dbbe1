package ocitar

import "errors"

func setACL(int, bool, string, string) error { return errors.ErrUnsupported }
