/* tools/connection.h - tells people what becomes of the connection to the session manager. */
#ifndef TOOLS_CONNECTION_H
#define TOOLS_CONNECTION_H

/* The on_connection of flm_connect_options; its argument is the program's name, a string. */
void connection_tell(int event, const char *text, void *program);

#endif
