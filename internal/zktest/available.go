package zktest

import "context"

// Available returns nil if a Docker engine answers.
func Available() error {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	_, err := connect(ctx)
	return err
}
