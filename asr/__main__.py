from asr.cli.main import main

main()
