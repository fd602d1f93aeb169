// Package environ makes runtime environments: what the worker processes of a
// task need beyond its program. A description is JSON, the same as Ray's, in
// which a driver has replaced its own folders by packages.
package environ
