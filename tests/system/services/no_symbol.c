/* A shared object that is no service. */
int flm_nothing(void);
int flm_nothing(void)
{
    return 0;
}
